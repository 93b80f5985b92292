"""Hamiltonian Monte Carlo over codes, for the densities p(z) p(x|z)^β between the prior and the posterior of an image.

Source: Neal, MCMC using Hamiltonian dynamics (2011), https://arxiv.org/abs/1206.1901
"""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.models import Model


class Point(NamedTuple):
    """Where chains are: codes, their log-densities in nats, and the gradients of these."""

    z: Tensor
    """Codes, (chains, batch, latent)."""
    log_prior: Tensor
    """log p(z), (chains, batch)."""
    log_likelihood: Tensor
    """log p(x|z), (chains, batch)."""
    prior_slope: Tensor
    """Gradient of log p(z), (chains, batch, latent)."""
    likelihood_slope: Tensor
    """Gradient of log p(x|z), (chains, batch, latent)."""

    def slope(self, beta: float) -> Tensor:
        """Gradient of log p(z) + β log p(x|z), (chains, batch, latent)."""
        return self.prior_slope + beta * self.likelihood_slope

    def log_density(self, beta: float) -> Tensor:
        """log p(z) + β log p(x|z) in nats, (chains, batch)."""
        return self.log_prior + beta * self.log_likelihood


def point_at(model: Model, x: Tensor, z: Tensor) -> Point:
    """The densities at codes, with their gradients; the model's parameters get none.

    Args:
        model: a model with a likelihood.
        x: images, (batch, channels, height, width).
        z: codes, (chains, batch, latent).
    """
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        log_prior, log_likelihood = model.densities(z, x)
        # two passes back, so that a point serves for every β; a ladder computes both densities in one graph
        (prior_slope,) = torch.autograd.grad(log_prior.sum(), z, retain_graph=True)
        (likelihood_slope,) = torch.autograd.grad(log_likelihood.sum(), z)
    return Point(z.detach(), log_prior.detach(), log_likelihood.detach(), prior_slope, likelihood_slope)


def move(model: Model, x: Tensor, start: Point, beta: float, step: Tensor, leapfrogs: int = 10) -> tuple[Point, Tensor]:
    """One transition of each chain, which leaves p(z) p(x|z)^β unchanged.

    Args:
        model: a model with a likelihood.
        x: images, (batch, channels, height, width).
        start: where the chains are.
        beta: power of the likelihood, from 0 to 1.
        step: step size of the leapfrog integrator, in units of z, (batch,) or (chains, batch).
        leapfrogs: number of its steps.

    Returns:
        where the chains are then, and the probability that the proposal was accepted, (chains, batch).
    """
    step = step.unsqueeze(-1)
    momentum = torch.randn_like(start.z)
    before = start.log_density(beta) - 0.5 * momentum.square().sum(-1)
    here = start
    momentum = momentum + 0.5 * step * start.slope(beta)
    for index in range(leapfrogs):
        here = point_at(model, x, here.z + step * momentum)
        momentum = momentum + (1.0 if index < leapfrogs - 1 else 0.5) * step * here.slope(beta)
    after = here.log_density(beta) - 0.5 * momentum.square().sum(-1)
    # a trajectory that left for infinity is rejected
    probability = (after - before).exp().clamp(max=1).nan_to_num(nan=0.0)
    accepted = torch.rand_like(probability) < probability
    chosen = [
        torch.where(accepted[..., None] if new.dim() > accepted.dim() else accepted, new, old)
        for new, old in zip(here, start, strict=True)
    ]
    return Point(*chosen), probability
