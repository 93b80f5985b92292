"""How the Monte Carlo estimate of KL(q ‖ p) approaches its value as samples are added.

KL(q ‖ p) = E_q[log q(z) − log p(z)] ≈ 1/n Σᵢ log q(zᵢ) − log p(zᵢ),   zᵢ ~ q
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence


class Curve(NamedTuple):
    """Averages over a batch of images, in nats, one value for each number of samples."""

    counts: Tensor
    estimate: Tensor
    error: Tensor
    """Standard error of the estimate."""
    value: float
    """What the estimate goes to."""
    method: str
    """How that was found: closed form, or numerical integral."""


@torch.no_grad()
def kl_curve(q: Distribution, p: Distribution, counts: Tensor) -> Curve:
    """The estimate after each number of samples, from one stream of samples.

    Args:
        q: a batch of distributions over codes.
        p: one distribution over codes.
        counts: numbers of samples, increasing.

    Raises:
        ValueError: if KL(q ‖ p) has no closed form and the codes are not in the plane.
    """
    terms = torch.stack([_log_ratio(q, p) for _ in range(int(counts[-1]))]).double()
    chosen = counts.to(terms.device)
    running = terms.cumsum(0)[chosen - 1] / chosen[:, None]
    squares = terms.square().cumsum(0)[chosen - 1] / chosen[:, None]
    # of one sample no spread can be known: the whole stream's serves every count
    variance = (squares[-1] - running[-1].square()) * chosen[-1] / (chosen[-1] - 1)
    images = terms.shape[1]
    error = (variance.sum() / chosen).sqrt() / images
    value, method = kl_value(q, p)
    return Curve(counts, running.mean(1).cpu(), error.cpu(), value.double().mean().item(), method)


def _log_ratio(q: Distribution, p: Distribution) -> Tensor:
    z = q.sample()
    return q.log_prob(z) - p.log_prob(z)


def kl_value(q: Distribution, p: Distribution) -> tuple[Tensor, str]:
    """KL(q ‖ p), (batch,), in closed form where torch knows one, else by an integral over the plane.

    Raises:
        ValueError: if there is neither.
    """
    try:
        return kl_divergence(q, p), "closed form"
    except NotImplementedError:
        if q.event_shape != (2,):
            raise ValueError("KL(q ‖ p) has no closed form here, and its integral needs latent_dim=2") from None
    return kl_by_integral(q, p), "numerical integral"


def kl_by_integral(q: Distribution, p: Distribution, points: int = 201, reach: float = 8.0) -> Tensor:
    """∫ q(z) (log q(z) − log p(z)) dz in the plane, by the trapezoidal rule around each posterior, (batch,).

    Args:
        q: a batch of distributions over the plane with a mean and a standard deviation.
        p: one distribution over the plane.
        points: along each axis.
        reach: of the grid, in standard deviations of q.
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
