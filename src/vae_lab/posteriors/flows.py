"""Posteriors that are flows: a diagonal normal, transformed by invertible layers that depend on the image."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.distributions import AffineTransform, Distribution, Transform, TransformedDistribution
from torch.nn.functional import silu

from vae_lab.annotations import Bins, Size, Sizes
from vae_lab.distributions.normal import diagonal_normal
from vae_lab.distributions.planar import NEUTRAL, PlanarTransform
from vae_lab.posteriors.base import Posterior


class Planar(Posterior):
    """z = f_K(… f_1(ε)), ε ~ N(μ, diag σ²), with K planar layers f(z) = z + û tanh(w·z + b), each invertible.

    The encoder gives μ, log σ² and, for each layer, u, b and what is added to a learned w. A draw is in closed form,
    and so is its density; the density of a given code solves one monotone equation for each layer (PlanarTransform).
    Where u = 0 a layer is the identity.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows (2015), https://arxiv.org/abs/1505.05770

    Args:
        latent_dim: length of z.
        layers: number K of planar layers.

    >>> Planar(latent_dim=2, layers=3)(torch.zeros(5, 19)).sample().shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: Size, layers: Size = 8) -> None:
        super().__init__(latent_dim, 2 * latent_dim + layers * (2 * latent_dim + 1))
        self.layers = layers
        self.w = nn.Parameter(torch.randn(layers, latent_dim) / latent_dim**0.5)

    def forward(self, numbers: Tensor) -> Distribution:
        """q(z|x) from means, log-variances, and u, w and b of each layer."""
        d, k = self.latent_dim, self.layers
        of_base, u, w, b = numbers.split((2 * d, k * d, k * d, k), dim=-1)
        directions = u.unflatten(-1, (k, d)).unbind(-2)
        normals = (w.unflatten(-1, (k, d)) + self.w).unbind(-2)
        layers: list[Transform] = [
            PlanarTransform(*of_layer, shift=NEUTRAL).inv
            for of_layer in zip(directions, normals, b.unbind(-1), strict=True)
        ]
        return TransformedDistribution(diagonal_normal(of_base), layers, validate_args=False)


class Autoregressive(Posterior):
    """What autoregressive posteriors share: a context that the encoder gives, and masked networks that see it.

    A draw passes each network once, however many draws there are, and its density comes with it. The density of a given
    code takes one pass for each dimension.

    Args:
        latent_dim: length of z.
        context: length of the context h that the encoder gives.
        transforms: number of transforms; each reverses the order of the dimensions.
        hidden_dims: widths of the hidden layers of each transform's network.
        univariate: makes the transform of a number from the outputs of the network.
        shapes: shapes of these outputs.
    """

    def __init__(
        self,
        latent_dim: int,
        context: int,
        transforms: int,
        hidden_dims: list[int],
        univariate: type[Transform],
        shapes: list[tuple[int, ...]],
    ) -> None:
        from vae_lab.distributions.conditional_flows import ConditionalTransform  # late: zuko

        super().__init__(latent_dim, 2 * latent_dim + context)
        up = torch.arange(latent_dim)
        make = partial(ConditionalTransform, latent_dim, context, univariate=univariate, shapes=shapes)
        relu = partial(nn.ReLU, inplace=True)  # its input is needed no more
        self.steps = nn.ModuleList(
            make(order=up.flip(0) if step % 2 else up, hidden_features=hidden_dims, activation=relu)
            for step in range(transforms)
        )

    def _steps(self, context: Tensor) -> list[Transform]:
        """The transforms in the order of drawing, from the context of each image (batch, context)."""
        return [step(silu(context)) for step in self.steps]

    def _flow(self, base: Distribution, transforms: list[Transform]) -> Distribution:
        """The distribution of a draw from the base after the transforms."""
        from zuko.transforms import ComposedTransform

        from vae_lab.distributions.conditional_flows import CodeFlow

        return CodeFlow(ComposedTransform(*transforms).inv, base)


class IAF(Autoregressive):
    """Inverse autoregressive flow: z_0 ~ N(μ, diag σ²), then z_t = σ_t ⊙ z_{t−1} + (1 − σ_t) ⊙ m_t.

    m_t and s_t of a dimension come from a masked network of the dimensions before it and of a context h of the image,
    and σ_t = sigmoid(s_t + 2). The density is log q(z|x) = log N(z_0; μ, diag σ²) − Σ_t Σ_i log σ_ti.

    Source: Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow (2016),
    https://arxiv.org/abs/1606.04934

    Args:
        latent_dim: length of z.
        context: length of the context h that the encoder gives.
        transforms: number of transforms; each reverses the order of the dimensions.
        hidden_dims: widths of the hidden layers of each transform's network.

    >>> IAF(latent_dim=2, context=4)(torch.zeros(5, 8)).sample().shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        latent_dim: Size,
        context: Size = 64,
        transforms: Size = 2,
        hidden_dims: Sizes = [64],  # noqa: B006  (never written to)
    ) -> None:
        from vae_lab.distributions.conditional_flows import GatedTransform

        super().__init__(latent_dim, context, transforms, hidden_dims, GatedTransform, [(), ()])

    def forward(self, numbers: Tensor) -> Distribution:
        """q(z|x) from means, log-variances and the context."""
        of_base, context = numbers.tensor_split((2 * self.latent_dim,), dim=-1)
        return self._flow(diagonal_normal(of_base), self._steps(context))


class Spline(Autoregressive):
    """Neural spline flow: z = μ + σ ⊙ f_K(… f_1(ε)), ε ~ N(0, I), with autoregressive splines f.

    Each f is a monotone rational-quadratic spline of every dimension, whose knots come from a masked network of the
    dimensions before it and of a context h of the image. It is the identity outside [−5, 5], so it works on the noise,
    which lies there for every image, and the encoder's μ and σ come last.

    Source: Durkan et al., Neural Spline Flows (2019), https://arxiv.org/abs/1906.04032

    Args:
        latent_dim: length of z.
        context: length of the context h that the encoder gives.
        transforms: number of transforms; each reverses the order of the dimensions.
        hidden_dims: widths of the hidden layers of each transform's network.
        bins: number of pieces of each spline.

    >>> Spline(latent_dim=2, context=4)(torch.zeros(5, 8)).sample().shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        latent_dim: Size,
        context: Size = 64,
        transforms: Size = 1,
        hidden_dims: Sizes = [64],  # noqa: B006  (never written to)
        bins: Bins = 8,
    ) -> None:
        from zuko.transforms import MonotonicRQSTransform

        shapes: list[tuple[int, ...]] = [(bins,), (bins,), (bins - 1,)]
        super().__init__(latent_dim, context, transforms, hidden_dims, MonotonicRQSTransform, shapes)

    def forward(self, numbers: Tensor) -> Distribution:
        """q(z|x) from means, log-variances and the context."""
        of_base, context = numbers.tensor_split((2 * self.latent_dim,), dim=-1)
        mean, log_variance = of_base.chunk(2, dim=-1)
        to_code = AffineTransform(mean, (0.5 * log_variance).exp(), event_dim=1)
        return self._flow(diagonal_normal(torch.zeros_like(of_base)), [*self._steps(context), to_code])
