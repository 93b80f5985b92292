"""Decoders: p(x|z) = likelihood(network(z)), a distribution over images."""

from vae_lab.decoders.base import Decoder
from vae_lab.decoders.conv import ConvDecoder
from vae_lab.decoders.coordinate import CoordinateDecoder
from vae_lab.decoders.mlp import MLPDecoder
from vae_lab.decoders.pixelcnn import PixelCNNDecoder
from vae_lab.decoders.resnet import ResNetDecoder
from vae_lab.decoders.transformer import TransformerDecoder

__all__ = [
    "ConvDecoder",
    "CoordinateDecoder",
    "Decoder",
    "MLPDecoder",
    "PixelCNNDecoder",
    "ResNetDecoder",
    "TransformerDecoder",
]
