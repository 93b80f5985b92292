"""Continuous Bernoulli pixels, exact for every logit."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import ContinuousBernoulli

from vae_lab.distributions.images import IndependentPixels

NEAR = 1.0  # logits below it in absolute value take the series: the differences below cancel there


class ContinuousBernoulliImage(IndependentPixels):
    """Independent pixels of density C(l) e^{l x} over [0, 1], C(l) = l / (e^l − 1).

    torch's own distribution works with probabilities, which float32 cannot tell from 1 above a logit of 16: from there
    its density no longer integrates to 1. Here all is computed from the logits.

    Args:
        logits: l, (…, channels, height, width).
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(ContinuousBernoulli(logits=logits, validate_args=False), 3, validate_args=False)
        self.logits = logits.to(torch.promote_types(logits.dtype, torch.float32))

    @property
    def mean(self) -> Tensor:
        """Mean of each pixel, (…, channels, height, width)."""
        return mean_of(self.logits)

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of images (…, channels, height, width) in nats, (…)."""
        self.check_shape(value)
        return (self.logits * (value - 0.5) - _log_mass(self.logits)).flatten(-3).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Images by the inverse of the distribution function, (sample_shape, …, channels, height, width)."""
        size = self.logits.abs().clamp_min(1e-6)  # below it the density is flat in float32
        uniform = torch.rand(self._extended_shape(torch.Size(sample_shape)), dtype=size.dtype, device=size.device)
        drawn = 1 + torch.log1p(uniform * torch.expm1(-size)) / size
        return torch.where(self.logits < 0, 1 - drawn, drawn).clamp(0, 1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Images, (sample_shape, …, channels, height, width)."""
        return self.rsample(sample_shape)


def mean_of(logits: Tensor) -> Tensor:
    """Mean 1 / (1 − e^−l) − 1 / l = ½ + ½ (coth ½l − 2 / l) of logits l, element by element."""
    near, far = _apart(logits)
    half = near / 2
    series = half / 3 - half**3 / 45 + 2 * half**5 / 945 - half**7 / 4725
    return 0.5 + 0.5 * torch.where(logits.abs() < NEAR, series, 1 / torch.tanh(far / 2) - 2 / far)


def _log_mass(logits: Tensor) -> Tensor:
    """log ∫ e^{l (x − ½)} dx = log(sinh ½l / ½l) over [0, 1]."""
    near, far = _apart(logits)
    square, size = (near / 2).square(), far.abs()
    series = square / 6 - square**2 / 180 + square**3 / 2835 - square**4 / 37800
    return torch.where(logits.abs() < NEAR, series, size / 2 + torch.log(-torch.expm1(-size) / size))


def _apart(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Logits where the series holds, and where it does not; a number without harm to a gradient elsewhere."""
    near = logits.abs() < NEAR
    return torch.where(near, logits, 0), torch.where(near, NEAR, logits)
