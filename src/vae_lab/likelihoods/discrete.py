"""Likelihoods of pixels with levels: their figures are probabilities of images, and may be given in bits."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.annotations import Positive
from vae_lab.distributions.levels import CategoricalImage, LogisticMixtureImage
from vae_lab.likelihoods.base import OPEN, Likelihood, output_of_mean, spread

Levels = Annotated[int, Field(ge=2, le=256)]
Components = Annotated[int, Field(ge=1, le=100)]

SHARPEST = 0.5e-3  # smallest scale of a component: an eighth of the distance of two grey levels


class Categorical(Likelihood):
    """p(x|z) = Π_i softmax(o_i)[k_i], x_i = k_i / (n − 1), with an output for each of n levels of each pixel.

    Source: van den Oord et al., Pixel Recurrent Neural Networks (2016), section 3.3, https://arxiv.org/abs/1601.06759

    Args:
        levels: number n of levels of a pixel: 256 for grey levels, 2 for bits.

    >>> import torch
    >>> Categorical(levels=4)(torch.zeros(2, 4 * 3, 8, 8)).log_prob(torch.ones(2, 3, 8, 8)) / (3 * 8 * 8)
    tensor([-1.3863, -1.3863])
    """

    pixel_range = (0.0, 1.0)
    levels: int

    def __init__(self, levels: Levels = 256) -> None:
        super().__init__()
        self.levels = self.outputs = levels

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from the logits of all levels."""
        return CategoricalImage(output.unflatten(-3, (self.levels, -1)))

    def link(self, mean: Tensor) -> Tensor:
        """Logits l x of the levels x: of the distributions with that mean the one with the most entropy."""
        grid = torch.linspace(0, 1, self.levels, dtype=mean.dtype, device=mean.device).view(-1, 1, 1, 1)
        slope = output_of_mean(lambda slope: ((slope * grid).softmax(0) * grid).sum(0), mean)
        return (slope * grid).flatten(0, 1)


class LogisticMixture(Likelihood):
    """p(x|z) = Π_i Σ_j π_ij [σ((x_i + ½δ − m_ij) / s_ij) − σ((x_i − ½δ − m_ij) / s_ij)], 256 levels δ = 1/255 apart.

    Each level has the probability that a mixture of logistic distributions has around it; black also has all below,
    and white all above. The network has 3 outputs for each pixel, channel and component: the logit of π, m, and o of
    s = 0.0005 + (scale − 0.0005) softplus(o) / log 2. The channels of a pixel are independent given z here; an
    autoregressive decoder gives each the ones before it.

    Source: Salimans et al., PixelCNN++ (2017), https://arxiv.org/abs/1701.05517

    Args:
        components: number of components of a pixel's mixture.
        scale: scale s where learning starts, in grey levels from 0 to 1; the standard deviation is 1.8 of it.

    Raises:
        ValueError: if learning starts at a scale of 0.0005 or less.

    >>> import torch
    >>> LogisticMixture(components=2)(torch.zeros(2, 6, 8, 8)).log_prob(torch.ones(2, 1, 8, 8)).shape
    torch.Size([2])
    """

    pixel_range = (0.0, 1.0)
    levels: int = 256

    def __init__(self, components: Components = 5, scale: Positive = 0.1) -> None:
        super().__init__()
        if scale <= SHARPEST:
            raise ValueError(f"scale={scale} must be above {SHARPEST}, the smallest that is learned")
        self.components, self.scale, self.outputs = components, scale, 3 * components

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from logits, locations and scales before softplus of all components."""
        logits, location, width = output.unflatten(-3, (3, self.components, -1)).unbind(-5)
        return LogisticMixtureImage(logits, location, spread(width, self.scale, SHARPEST), self.levels)

    def link(self, mean: Tensor) -> Tensor:
        """Locations m = s log[(e^{x/s} − 1) / (1 − e^{(x−1)/s})] of mean x for all components; zeros for the rest."""
        x = mean.clamp(OPEN, 1 - OPEN) / self.scale
        # log(eˣ − 1) = x + log(1 − e⁻ˣ), which no large x overflows
        location = self.scale * (x + (-torch.expm1(-x)).log() - (-torch.expm1(x - 1 / self.scale)).log())
        location = location.repeat(self.components, 1, 1)
        return torch.cat((torch.zeros_like(location), location, torch.zeros_like(location)))
