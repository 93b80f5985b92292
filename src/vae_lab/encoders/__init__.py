"""Encoders: q(z|x) = posterior(network(x)), a distribution over codes."""

from vae_lab.encoders.base import Encoder
from vae_lab.encoders.conv import ConvEncoder
from vae_lab.encoders.mlp import MLPEncoder
from vae_lab.encoders.none import NoEncoder
from vae_lab.encoders.resnet import ResNetEncoder

__all__ = ["ConvEncoder", "Encoder", "MLPEncoder", "NoEncoder", "ResNetEncoder"]
