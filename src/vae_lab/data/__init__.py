"""From files to tensors to batches."""

from vae_lab.data.arrays import ArraysDataModule
from vae_lab.data.base import ImageDataModule
from vae_lab.data.images import ImagesDataModule
from vae_lab.data.mnist import MNISTDataModule

__all__ = ["ArraysDataModule", "ImageDataModule", "ImagesDataModule", "MNISTDataModule"]
