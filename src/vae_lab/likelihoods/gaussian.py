"""A normal likelihood."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from vae_lab.annotations import Positive
from vae_lab.distributions.images import GaussianImage, IndependentPixels
from vae_lab.likelihoods.base import Likelihood, logit, spread

ROOT_HALF = 0.5**0.5
FINEST = 1 / 256  # smallest learned standard deviation of a pixel: grey levels are 1/255 apart


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

    is_density = True

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
        scale = spread(width, self.log_scale.exp(), FINEST)
        mean = output.sigmoid() if self.squash else output
        return IndependentPixels(Normal(mean, scale, validate_args=False), 3, validate_args=False)

    def link(self, mean: Tensor) -> Tensor:
        """The mean itself, or its logit where the mean is squashed; zeros for the scales."""
        output = logit(mean) if self.squash else mean
        return torch.cat((output, torch.zeros_like(output))) if self.per_pixel else output
