"""Decoders: calling one with codes gives p(x|z), a distribution over images."""

from vae_lab.decoders.networks import ConvDecoder, Decoder, MLPDecoder

__all__ = ["ConvDecoder", "Decoder", "MLPDecoder"]
