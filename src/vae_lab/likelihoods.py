"""Likelihoods: from the output of a decoder's network to the distribution p(x|z) over images."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal
from torch.nn.functional import softplus

from vae_lab.annotations import Positive
from vae_lab.distributions.images import BernoulliImage, GaussianImage, IndependentPixels

ROOT_HALF = 0.5**0.5
FINEST = 1 / 256  # smallest learned standard deviation of a pixel: grey levels are 1/255 apart


class Likelihood(nn.Module):
    """p(x|z) from the output of a decoder's network."""

    outputs: int = 1
    """Number of outputs that the network needs for each pixel and channel."""

    pixel_range: tuple[float, float] = (-math.inf, math.inf)
    """Smallest and largest value of a pixel that it takes; images outside are refused."""

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


def _logit(mean: Tensor) -> Tensor:
    """Logit of means, kept inside (0, 1): pixels that are always black would have −∞."""
    return torch.logit(mean, eps=1e-3)


class Bernoulli(Likelihood):
    """p(x|z) = Π_i y_i^{x_i} (1 − y_i)^{1 − x_i}, y = sigmoid(output).

    Its log-probability is computed from the logits and so is finite for every finite output. With grey
    levels in place of 0 and 1 the same expression is a cross-entropy, not a likelihood.

    >>> Bernoulli()(torch.zeros(2, 1, 28, 28)).log_prob(torch.ones(2, 1, 28, 28)) / (28 * 28)
    tensor([-0.6931, -0.6931])
    """

    pixel_range = (0.0, 1.0)

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from logits."""
        return BernoulliImage(output)

    def link(self, mean: Tensor) -> Tensor:
        """Logit of the mean."""
        return _logit(mean)


class Gaussian(Likelihood):
    """p(x|z) = Π_i N(x_i; m_i, s_i²), with one standard deviation s for all pixels or one for each.

    With ``learned=per_pixel`` the network has a second output o for each pixel and channel, and
    s = 1/256 + (scale − 1/256) softplus(o) / log 2, which is ``scale`` at o = 0. The lower bound keeps the density
    of pixels that are the same in every image finite.

    Args:
        scale: standard deviation s of a pixel, in grey levels from 0 to 1; where learning starts if it is learned.
            s² = ½ makes the negative log-likelihood the sum of squared errors plus a constant.
        learned: false keeps s; true makes it one parameter; per_pixel lets the network give it for each pixel.
        squash: m = sigmoid(output), inside [0, 1] as grey levels are, and pixels outside are refused; else m = output,
            and pixels may have any finite value.

    Raises:
        ValueError: if ``learned=per_pixel`` starts at a scale of 1/256 or less.

    >>> Gaussian(scale=0.5, squash=True)(torch.zeros(2, 1, 28, 28)).mean.unique()
    tensor([0.5000])
    >>> Gaussian(scale=0.5, learned="per_pixel")(torch.zeros(2, 2, 28, 28)).stddev.unique()
    tensor([0.5000])
    """

    def __init__(
        self, scale: Positive = ROOT_HALF, learned: bool | Literal["per_pixel"] = False, squash: bool = True
    ) -> None:
        super().__init__()
        self.squash = squash
        self.per_pixel = learned == "per_pixel"
        self.outputs = 2 if self.per_pixel else 1
        if squash:
            self.pixel_range = (0.0, 1.0)
        if self.per_pixel and scale <= FINEST:
            raise ValueError(f"scale={scale} must be above 1/256 where it is learned for each pixel")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned is True)

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from means before squashing and, with ``learned=per_pixel``, as many outputs for the scales."""
        if not self.per_pixel:
            return GaussianImage(output.sigmoid() if self.squash else output, self.log_scale.exp())
        output, width = output.chunk(2, dim=-3)
        scale = FINEST + (self.log_scale.exp() - FINEST) * softplus(width) / math.log(2)
        mean = output.sigmoid() if self.squash else output
        return IndependentPixels(Normal(mean, scale, validate_args=False), 3, validate_args=False)

    def link(self, mean: Tensor) -> Tensor:
        """The mean itself, or its logit where the mean is squashed; zeros for the scales."""
        output = _logit(mean) if self.squash else mean
        return torch.cat((output, torch.zeros_like(output))) if self.per_pixel else output
