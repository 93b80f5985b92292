"""Flows of codes that an encoder's output steers: what zuko's own lack."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints
from torch.nn.functional import linear
from zuko.distributions import NormalizingFlow
from zuko.flows.autoregressive import MaskedAutoregressiveTransform
from zuko.transforms import AutoregressiveTransform, DependentTransform
from zuko.utils import unpack

SMALLEST = 1e-3  # of σ: the way back divides by it once for each dimension


class GatedTransform(Transform):
    """y = σ x + (1 − σ) m for each number, with σ = sigmoid(s + 2), kept above 10⁻³.

    Source: Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow (2016), algorithm 1 and
    equation 15, https://arxiv.org/abs/1606.04934

    Args:
        m: value that x is moved to, (…).
        s: logit of the gate, less 2, (…): at 0 a step keeps most of x.
    """

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, m: Tensor, s: Tensor) -> None:
        super().__init__()
        self.m = m
        self.gate = torch.add(SMALLEST, (s + 2).sigmoid(), alpha=1 - SMALLEST)

    def _call(self, x: Tensor) -> Tensor:
        return torch.lerp(self.m, x, self.gate)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.m + (y - self.m) / self.gate

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        """log σ of each number."""
        return self.gate.log()


class CodeFlow(NormalizingFlow):
    """zuko's flow, over codes of its base's shape: a transform with parameters of each image does not know theirs."""

    @property
    def event_shape(self) -> torch.Size:
        """(latent,)."""
        return self.base.event_shape


class OrderedTransform(AutoregressiveTransform):
    """y_i = f(x_i | x_before(i)), whose way back finds one dimension after the other.

    zuko's own computes all dimensions in each pass: those whose turn has not come may overflow, and an infinite
    number times a masked weight of 0 is not a number.

    Args:
        meta: gives f for all dimensions of x.
        order: place of each dimension in the order, (latent,).
    """

    def __init__(self, meta: Callable[[Tensor], Transform], order: Tensor) -> None:
        super().__init__(meta, len(order))
        self.order = order

    def _inverse(self, y: Tensor) -> Tensor:
        x = torch.zeros_like(y)
        for turn in range(self.passes):
            x = torch.where(self.order == turn, self.meta(x).inv(y), x)
        return x


class ConditionalTransform(MaskedAutoregressiveTransform):
    """zuko's masked autoregressive transform, with its first layer split into that of codes and that of the context.

    What the context adds is computed once for each image, whatever the number of draws.
    """

    def forward(self, c: Tensor) -> Transform:
        """The transform of codes (…, latent).

        Args:
            c: context of each image, (batch, context).
        """
        first, *rest = self.hyper
        latent = len(self.order)
        weight = first.mask * first.weight
        of_codes, of_context = weight[:, :latent], linear(c, weight[:, latent:], first.bias)
        network = nn.Sequential(*rest)

        def meta(x: Tensor) -> Transform:
            hidden = linear(x, of_codes)
            in_place = hidden.shape[-of_context.dim() :] == of_context.shape  # a fifth off the time of a draw
            hidden = hidden.add_(of_context) if in_place else hidden + of_context
            numbers = network(hidden).unflatten(-1, (latent, self.total))
            return DependentTransform(self.univariate(*unpack(numbers, self.shapes)), 1)

        return OrderedTransform(meta, self.order)
