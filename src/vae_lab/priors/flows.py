"""Priors that are flows: a standard normal, transformed by learned invertible layers."""

from typing import Literal

import torch
from torch import nn
from torch.distributions import Distribution, Independent, Normal, Transform, TransformedDistribution

from vae_lab.annotations import Size, Sizes
from vae_lab.distributions.planar import PlanarTransform
from vae_lab.priors.base import Prior


class PlanarFlow(Prior):
    """p(z) = N(ε; 0, I) |det ∂ε/∂z|, where ε comes from z through K planar layers, each invertible.

    The density is exact in closed form; a sample solves one monotone equation for each layer (see PlanarTransform).

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows (2015), https://arxiv.org/abs/1505.05770

    Args:
        latent_dim: length of z.
        layers: number K of planar layers.

    >>> PlanarFlow(latent_dim=2, layers=3)().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: Size, layers: Size = 10) -> None:
        super().__init__()
        self.u = nn.Parameter(0.1 * torch.randn(layers, latent_dim))
        self.w = nn.Parameter(torch.randn(layers, latent_dim) / latent_dim**0.5)
        self.b = nn.Parameter(torch.zeros(layers))

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        zeros = torch.zeros_like(self.u[0])
        noise = Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1, validate_args=False)
        layers: list[Transform] = [PlanarTransform(u, w, b) for u, w, b in zip(self.u, self.w, self.b, strict=True)]
        return TransformedDistribution(noise, layers, validate_args=False)


class Flow(Prior):
    """p(z) from one of zuko's flows over a standard normal.

    Sources: Durkan et al., Neural Spline Flows (2019), https://arxiv.org/abs/1906.04032; Papamakarios et al., Masked
    Autoregressive Flow for Density Estimation (2017), https://arxiv.org/abs/1705.07057

    Args:
        latent_dim: length of z.
        kind: rational-quadratic splines, or affine masked autoregressive transforms.
        transforms: number of transforms.
        hidden_dims: widths of the hidden layers of each transform's network.

    >>> Flow(latent_dim=2, transforms=1)().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        latent_dim: Size,
        kind: Literal["spline", "autoregressive"] = "spline",
        transforms: Size = 3,
        hidden_dims: Sizes = [64, 64],  # noqa: B006  (never written to)
    ) -> None:
        super().__init__()
        import zuko  # late: only this prior needs it

        make = {"spline": zuko.flows.NSF, "autoregressive": zuko.flows.MAF}[kind]
        self.flow = make(latent_dim, transforms=transforms, hidden_features=tuple(hidden_dims))

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        return self.flow()
