"""Priors: calling one gives p(z), a distribution over latent vectors."""

from vae_lab.priors.base import Prior
from vae_lab.priors.continuous import ContinuousFlow
from vae_lab.priors.flows import Flow, PlanarFlow
from vae_lab.priors.gaussian import StandardNormal
from vae_lab.priors.mixtures import Mixture, Vamp

__all__ = ["ContinuousFlow", "Flow", "Mixture", "PlanarFlow", "Prior", "StandardNormal", "Vamp"]
