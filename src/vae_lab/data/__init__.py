"""From files to tensors to batches."""

from vae_lab.data.mnist import MNISTDataModule

__all__ = ["MNISTDataModule"]
