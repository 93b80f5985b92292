"""From files to tensors to batches."""

from vae_lab.data.base import ImageDataModule
from vae_lab.data.mnist import MNISTDataModule

__all__ = ["ImageDataModule", "MNISTDataModule"]
