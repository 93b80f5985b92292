"""Decoders: p(x|z) = likelihood(network(z)), a distribution over images."""

from vae_lab.decoders.base import Decoder
from vae_lab.decoders.conv import ConvDecoder
from vae_lab.decoders.mlp import MLPDecoder

__all__ = ["ConvDecoder", "Decoder", "MLPDecoder"]
