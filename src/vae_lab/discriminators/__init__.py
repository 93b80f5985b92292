"""Discriminators: one number for each image, larger for images that look real."""

from vae_lab.discriminators.base import Discriminator
from vae_lab.discriminators.conv import ConvDiscriminator
from vae_lab.discriminators.mlp import MLPDiscriminator

__all__ = ["ConvDiscriminator", "Discriminator", "MLPDiscriminator"]
