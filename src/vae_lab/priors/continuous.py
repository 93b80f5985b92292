"""The prior that is a continuous flow: noise moved by a learned velocity."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lab.annotations import OneOrTwoSizes, Positive, Size
from vae_lab.distributions.ode import ODETransform, Solver, adaptive, rk4
from vae_lab.priors.base import Prior

FREQUENCIES = 3  # of the cosines and sines of the time
NEAR_ZERO = 0.01  # standard deviation of the last layer's first weights: the prior starts near N(0, I)


class ContinuousFlow(Prior):
    """p(z) of z = z(1) = z(0) + ∫₀¹ f(t, z(t)) dt, z(0) ~ N(0, I), with a learned velocity f.

        log p(z) = log N(z(0); 0, I) − ∫₀¹ tr ∂f/∂z dt

    A density goes back in time from z to the noise, a sample from the noise to z. Every f gives a density, since the
    flow of an equation with a bounded slope is invertible. The trace is exact.

    Sources: Chen et al., Neural Ordinary Differential Equations (2018), https://arxiv.org/abs/1806.07366; Grathwohl et
    al., FFJORD (2019), https://arxiv.org/abs/1810.01367

    Args:
        latent_dim: length of z.
        hidden_dims: widths of the hidden layers of f, one or two: the trace of such a network is one product of
            matrices.
        solver: rk4 makes ``steps`` equal steps; adaptive chooses its steps by ``tolerance``, and they may become many.
        steps: number of steps of rk4, of four evaluations of f each; None is 8. An adaptive solver takes none.
        tolerance: largest error of a step of the adaptive solver, relative to z; None is 1e-5. rk4 takes none.

    Raises:
        ValueError: if the solver takes no ``steps`` or no ``tolerance``, or there are more than two hidden layers.

    >>> ContinuousFlow(latent_dim=2, hidden_dims=[16])().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        latent_dim: Size,
        hidden_dims: OneOrTwoSizes = [64, 64],  # noqa: B006  (never written to)
        solver: Literal["rk4", "adaptive"] = "rk4",
        steps: Size | None = None,
        tolerance: Positive | None = None,
    ) -> None:
        super().__init__()
        if solver == "adaptive" and steps is not None:
            raise ValueError("solver=adaptive chooses its steps by its tolerance; leave steps out, or use solver=rk4")
        if solver == "rk4" and tolerance is not None:
            raise ValueError("solver=rk4 makes a fixed number of steps; leave tolerance out, or use solver=adaptive")
        self.latent_dim, self.solver, self.steps, self.tolerance = latent_dim, solver, steps or 8, tolerance or 1e-5
        self.velocity = VelocityField(latent_dim, hidden_dims)

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        from zuko.distributions import NormalizingFlow  # late: only this prior needs it

        zeros = torch.zeros_like(self.velocity.last.bias)
        noise = Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1, validate_args=False)
        return NormalizingFlow(ODETransform(self.velocity, self._solver(), start=1.0, end=0.0), noise)

    def _solver(self) -> Solver:
        if self.solver == "rk4":
            return partial(rk4, steps=self.steps)
        return partial(adaptive, parameters=self.velocity.parameters(), tolerance=self.tolerance)


class VelocityField(nn.Module):
    """f(t, z) of a network with tanh between its layers, and tr ∂f/∂z.

    With W₁, W₂, W₃ the weights of two hidden layers of slopes d₁, d₂ (the derivatives of tanh) the trace is

        tr(W₃ diag(d₂) W₂ diag(d₁) W₁) = d₂ᵀ (W₂ ∘ (W₁ W₃)ᵀ) d₁,

    one product for all images, where a derivative by each dimension would take as many passes.

    Args:
        latent_dim: length of z.
        hidden_dims: widths of the hidden layers, one or two.
    """

    frequencies: Tensor

    def __init__(self, latent_dim: int, hidden_dims: list[int]) -> None:
        super().__init__()
        if not 1 <= len(hidden_dims) <= 2:
            raise ValueError(f"hidden_dims are the widths of one or two layers, and there are {len(hidden_dims)}")
        self.first = nn.Linear(latent_dim, hidden_dims[0])
        self.time = nn.Linear(2 * FREQUENCIES, hidden_dims[0], bias=False)
        self.second = nn.Linear(hidden_dims[0], hidden_dims[1]) if len(hidden_dims) == 2 else None
        self.last = nn.Linear(hidden_dims[-1], latent_dim)
        nn.init.normal_(self.last.weight, std=NEAR_ZERO)
        nn.init.zeros_(self.last.bias)
        self.register_buffer("frequencies", torch.pi * torch.arange(1, FREQUENCIES + 1), persistent=False)

    def forward(self, t: Any, z: Tensor) -> Tensor:
        """f(t, z) and the trace of its Jacobian by z, (…, latent + 1).

        Args:
            t: time from 0 to 1, a number or a tensor ().
            z: codes, (…, latent).
        """
        # the error of half precision is above what an adaptive solver aims at
        with torch.autocast(z.device.type, enabled=False):
            z = z.to(self.first.weight.dtype)
            phase = self.frequencies * t
            h = (self.first(z) + self.time(torch.cat((phase.cos(), phase.sin())))).tanh()
            slope, loop = 1 - h.square(), self.first.weight @ self.last.weight
            if self.second is None:
                trace = slope @ loop.diagonal()
            else:
                h = self.second(h).tanh()
                trace = ((slope @ (loop * self.second.weight.T)) * (1 - h.square())).sum(-1)
            return torch.cat((self.last(h), trace[..., None]), -1)
