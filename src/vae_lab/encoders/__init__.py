"""Encoders: calling one with images gives the posterior q(z|x), a distribution over codes."""

from vae_lab.encoders.networks import ConvEncoder, MLPEncoder, diagonal_normal

__all__ = ["ConvEncoder", "MLPEncoder", "diagonal_normal"]
