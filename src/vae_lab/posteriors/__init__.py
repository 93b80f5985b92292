"""Posterior heads: from the output of an encoder's network to the distribution q(z|x) over codes."""

from vae_lab.posteriors.base import Posterior
from vae_lab.posteriors.flows import IAF, Planar, Spline
from vae_lab.posteriors.gaussian import DiagonalNormal, FullNormal

__all__ = ["IAF", "DiagonalNormal", "FullNormal", "Planar", "Posterior", "Spline"]
