"""How the Monte Carlo estimate of KL(q ‖ p) approaches its value as samples are added.

KL(q ‖ p) = E_q[log q(z) − log p(z)] ≈ 1/n Σᵢ log q(zᵢ) − log p(zᵢ),   zᵢ ~ q
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_lab.models.draws import Latent


class KLEstimates(NamedTuple):
    """Averages over a batch of images, in nats, one value for each number of samples."""

    counts: Tensor
    estimate: Tensor
    error: Tensor
    """Standard error of the estimate."""
    value: float
    """What the estimate converges to."""
    method: str
    """How the value was found: closed form, or numerical integral."""


@torch.no_grad()
def kl_curve(q: Distribution, p: Distribution, counts: Tensor) -> KLEstimates:
    """The estimate after each number of samples, from one stream of samples.

    Args:
        q: posteriors of a batch of images, over codes.
        p: prior, one distribution over codes.
        counts: numbers of samples, increasing, (n,); the last is at least 2.

    Raises:
        ValueError: if KL(q ‖ p) has no closed form and the codes are not in the plane.
    """
    terms = torch.stack([_log_ratio(q, p) for _ in range(int(counts[-1]))]).double()
    chosen = counts.to(terms.device)
    running = terms.cumsum(0)[chosen - 1] / chosen[:, None]
    squares = terms.square().cumsum(0)[chosen - 1] / chosen[:, None]
    # one sample has no spread: the whole stream's is used for every count
    variance = (squares[-1] - running[-1].square()) * chosen[-1] / (chosen[-1] - 1)
    images = terms.shape[1]
    error = (variance.sum() / chosen).sqrt() / images
    value, method = kl_value(q, p)
    return KLEstimates(counts, running.mean(1).cpu(), error.cpu(), value.double().mean().item(), method)


def _log_ratio(q: Distribution, p: Distribution) -> Tensor:
    return Latent(q, p, ()).log_ratio


def kl_value(q: Distribution, p: Distribution) -> tuple[Tensor, str]:
    """KL(q ‖ p) in nats, (batch,), in closed form where torch knows one, else by an integral over the plane.

    Args:
        q: posteriors of a batch of images, over codes.
        p: prior, one distribution over codes.

    Returns:
        the value, and how it was found.

    Raises:
        ValueError: if there is neither.
    """
    try:
        return kl_divergence(q, p), "closed form"
    except NotImplementedError:
        if q.event_shape != (2,):
            raise ValueError("KL(q ‖ p) has no closed form here, and its integral needs latent_dim=2") from None
    try:
        return kl_by_integral(q, p), "numerical integral"
    except NotImplementedError:
        raise ValueError("KL(q ‖ p) has no closed form here, and its integral needs q's mean and deviation") from None


def kl_by_integral(q: Distribution, p: Distribution, points: int = 201, reach: float = 8.0) -> Tensor:
    """∫ q(z) (log q(z) − log p(z)) dz in the plane, by the trapezoidal rule around each posterior, in nats, (batch,).

    The grid follows from the mean and the standard deviation of q, so q must have both, as a Gaussian does.

    Args:
        q: posteriors of a batch of images over the plane, with a mean and a standard deviation.
        p: prior, one distribution over the plane.
        points: number of grid points along each axis.
        reach: distance from the mean to the grid's edge, in standard deviations of q.
    """
    line = torch.linspace(-reach, reach, points, device=q.mean.device, dtype=q.mean.dtype)
    # (points², 1, 2): the same grid for every image, in units of its own deviations
    grid = torch.cartesian_prod(line, line)[:, None]
    cell = (line[1] - line[0]).square() * q.stddev.prod(-1)
    total = torch.zeros_like(q.mean[..., 0])
    for part in grid.split(points):
        z = q.mean + part * q.stddev
        log_q = q.log_prob(z)
        total += (log_q.exp() * (log_q - p.log_prob(z))).sum(0)
    return total * cell
