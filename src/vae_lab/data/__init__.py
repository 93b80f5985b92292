"""From files to tensors to batches."""

from vae_lab.data.arrays import ArraysDataModule
from vae_lab.data.base import ImageDataModule
from vae_lab.data.fixed_binarized_mnist import FixedBinarizedMNIST
from vae_lab.data.images import ImagesDataModule
from vae_lab.data.mnist import MNISTDataModule
from vae_lab.data.torchvision_sets import TorchvisionDataModule

__all__ = [
    "ArraysDataModule",
    "FixedBinarizedMNIST",
    "ImageDataModule",
    "ImagesDataModule",
    "MNISTDataModule",
    "TorchvisionDataModule",
]
