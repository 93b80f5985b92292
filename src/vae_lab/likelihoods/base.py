"""What a decoder needs from a likelihood, and what likelihoods share."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import softplus

from vae_lab.recorded import Recorded

OPEN = 1e-3  # a mean is kept so far inside (0, 1): pixels that are always black would have an output of −∞


class Likelihood(Recorded, nn.Module):
    """p(x|z) from the output of a decoder's network."""

    outputs: int = 1
    """Number of outputs that the network needs for each pixel and channel."""

    pixel_range: tuple[float, float] = (-math.inf, math.inf)
    """Smallest and largest value of a pixel that it takes; images outside are refused."""

    levels: int | None = None
    """Number n of the levels k / (n − 1) that a pixel may have; None where it is no probability of levels."""

    is_density: bool = False
    """Whether it is a density over real numbers, whose figures are no probabilities of images."""

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z), with the image as its event.

        Args:
            output: output of the network, (…, outputs × channels, height, width).
        """
        raise NotImplementedError

    def link(self, mean: Tensor) -> Tensor:
        """The output of the network whose distribution has a given mean, (outputs × channels, height, width).

        Args:
            mean: mean image, (channels, height, width), in [0, 1].
        """
        raise NotImplementedError


def logit(mean: Tensor) -> Tensor:
    """Logit of means, kept inside (0, 1)."""
    return torch.logit(mean, eps=OPEN)


def spread(output: Tensor, scale: float | Tensor, finest: float) -> Tensor:
    """Scales finest + (scale − finest) softplus(output) / log 2 of outputs, ``scale`` at 0 and above ``finest``."""
    return finest + (scale - finest) * softplus(output) / math.log(2)


def output_of_mean(mean_of: Callable[[Tensor], Tensor], mean: Tensor, reach: float = 1000) -> Tensor:
    """The output whose distribution has a given mean, by bisection.

    Args:
        mean_of: rising function from outputs to means, element by element.
        mean: means, of any shape; they are kept inside (0, 1).
        reach: largest absolute value of an output.
    """
    wanted = mean.clamp(OPEN, 1 - OPEN)
    low = torch.full_like(wanted, -reach)
    width = 2 * reach
    for _ in range(40):
        width /= 2
        low = torch.where(mean_of(low + width) < wanted, low + width, low)
    return low
