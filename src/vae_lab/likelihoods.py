"""Likelihoods: from a decoder's output, one value a pixel, to the distribution p(x|z) over images."""

import math
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import Distribution, Independent, Normal


class Likelihood(nn.Module):
    """What a decoder needs to know: how its output becomes a distribution, and back from a mean."""

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) for network outputs (…, channels, height, width); the image is the event."""
        raise NotImplementedError

    def link(self, mean: Tensor) -> Tensor:
        """The network output whose distribution has this mean."""
        raise NotImplementedError


def _logit(mean: Tensor) -> Tensor:
    """Logit of means held inside (0, 1): pixels that are always black would have −∞."""
    return torch.logit(mean, eps=1e-3)


class _BernoulliLogProb(torch.autograd.Function):
    """log p = Σ_i (x_i − ½) l_i − ½ |l_i| + log sigmoid(|l_i|) for logits l, and its gradient x − sigmoid(l).

    The last term is what costs. Each sigmoid lies in [½, 1), so that 16 of them are multiplied before one logarithm is
    taken: half the time of an evaluation with many samples of z.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(logits, value)
        logits = logits.flatten(-3)
        product = logits.abs()
        linear = (logits * (value.flatten(-3) - 0.5)).sum(-1) - 0.5 * product.sum(-1)
        product.sigmoid_()
        for _ in range(4):
            if product.shape[-1] % 2 == 0:
                halves = product.chunk(2, dim=-1)
                product = halves[0] * halves[1]
        return linear + product.log_().sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        logits, value = ctx.saved_tensors
        gradient = gradient[..., None, None, None]
        of_value = (gradient * logits).sum_to_size(value.shape) if ctx.needs_input_grad[1] else None
        return ((value - logits.sigmoid()) * gradient).sum_to_size(logits.shape), of_value


class _GaussianLogProb(torch.autograd.Function):
    """log p = −Σ_i (x_i − m_i)² / 2 s² − n log s − ½ n log 2π, with gradients (x − m) / s² and Σ (x − m)² / s³ − n / s.

    One pass over the pixels each way, a quarter of what autograd makes of the sum of squares.
    """

    @staticmethod
    def forward(ctx: Any, mean: Tensor, scale: Tensor, value: Tensor) -> Tensor:
        difference = value - mean
        pixels = difference.flatten(-3)
        squares = torch.linalg.vecdot(pixels, pixels)
        ctx.save_for_backward(difference, squares, scale)
        ctx.shapes = mean.shape, value.shape
        constant = (scale.log() + 0.5 * math.log(2 * math.pi)) * -pixels.shape[-1]
        return torch.addcdiv(constant, squares, scale.square(), value=-0.5)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        difference, squares, scale = ctx.saved_tensors
        of_mean = difference * (gradient / scale.square())[..., None, None, None]
        of_scale = of_value = None
        if ctx.needs_input_grad[1]:
            of_scale = (gradient * (squares / scale.square() - difference.shape[-3:].numel()) / scale).sum()
        if ctx.needs_input_grad[2]:
            of_value = -of_mean.sum_to_size(ctx.shapes[1])
        return of_mean.sum_to_size(ctx.shapes[0]), of_scale, of_value


class _BernoulliImage(Independent):  # type: ignore[type-arg]  # not generic in every torch
    """Independent Bernoulli pixels, whose log-probability is an image's at once."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Of images (…, channels, height, width)."""
        logits = self.base_dist.logits
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return _BernoulliLogProb.apply(logits, value)


class _GaussianImage(Independent):  # type: ignore[type-arg]
    """Independent normal pixels of one scale, whose log-probability is an image's at once.

    Args:
        mean: (…, channels, height, width).
        scale: (), of every pixel.
    """

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__(Normal(mean, scale, validate_args=False), 3, validate_args=False)
        self.scale = scale

    def log_prob(self, value: Tensor) -> Tensor:
        """Of images (…, channels, height, width)."""
        return _GaussianLogProb.apply(self.mean, self.scale, value)


class Bernoulli(Likelihood):
    """p(x|z) = Π_i y_i^{x_i} (1 − y_i)^{1 − x_i}, y = sigmoid(output).

    Its log-probability is computed from the logits and so is finite for every finite output. With grey
    levels in place of 0 and 1 the same expression is a cross-entropy, not a likelihood.

    >>> Bernoulli()(torch.zeros(2, 1, 28, 28)).log_prob(torch.ones(2, 1, 28, 28)) / (28 * 28)
    tensor([-0.6931, -0.6931])
    """

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from logits."""
        return _BernoulliImage(TorchBernoulli(logits=output, validate_args=False), 3, validate_args=False)

    def link(self, mean: Tensor) -> Tensor:
        """Logit of the mean."""
        return _logit(mean)


class Gaussian(Likelihood):
    """p(x|z) = Π_i N(x_i; m_i, s²) with one scale s for all pixels.

    Args:
        scale: standard deviation s, where learning starts if it is learned. s² = ½ makes the negative
            log-likelihood the sum of squared errors plus a constant.
        learned: let s be a parameter.
        squash: m = sigmoid(output), inside [0, 1] as grey levels are; else m = output.

    >>> Gaussian(scale=0.5, squash=True)(torch.zeros(2, 1, 28, 28)).mean.unique()
    tensor([0.5000])
    """

    def __init__(
        self,
        scale: Annotated[float, Field(gt=0)] = math.sqrt(0.5),
        learned: bool = False,
        squash: bool = True,
    ) -> None:
        super().__init__()
        self.squash = squash
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)), requires_grad=learned)

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from means, before squashing."""
        mean = output.sigmoid() if self.squash else output
        return _GaussianImage(mean, self.log_scale.exp())

    def link(self, mean: Tensor) -> Tensor:
        """The mean itself, or its logit where the mean is squashed."""
        return _logit(mean) if self.squash else mean
