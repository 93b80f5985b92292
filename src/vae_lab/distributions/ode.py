"""The flow of an ordinary differential equation as a transform of torch.distributions."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Transform, constraints

Velocity = Callable[[Any, Tensor], Tensor]
"""(t, state) ↦ its rate of change, of the state's shape; t is a number or a tensor ()."""
Solver = Callable[[Velocity, Tensor, float, float], Tensor]
"""(velocity, state at t0, t0, t1) ↦ state at t1."""


class ODETransform(Transform):
    """z(t₀) ↦ z(t₁) = z(t₀) + ∫ f(t, z) dt, with log |det ∂z(t₁)/∂z(t₀)| = ∫ tr ∂f/∂z dt.

    Both integrals are computed together, as one state of one more dimension. The inverse goes back in time.

    Source: Chen et al., Neural Ordinary Differential Equations (2018), section 4, https://arxiv.org/abs/1806.07366

    Args:
        rates: f and tr ∂f/∂z, (…, dim + 1), of a time and of z, (…, dim).
        solve: solver of the equation.
        start: t₀.
        end: t₁.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, rates: Velocity, solve: Solver, start: float = 0.0, end: float = 1.0) -> None:
        super().__init__()
        self.rates, self.solve, self.start, self.end = rates, solve, start, end

    @property
    def inv(self) -> Transform:
        """z(t₁) ↦ z(t₀)."""
        return ODETransform(self.rates, self.solve, self.end, self.start)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z(t₁) and log |det ∂z(t₁)/∂z(t₀)| at z(t₀) = x, (…, dim) and (…), from one solution."""
        state = torch.cat((x, torch.zeros_like(x[..., :1])), -1)
        state = self.solve(lambda t, s: self.rates(t, s[..., :-1]), state, self.start, self.end)
        return state[..., :-1], state[..., -1]

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.inv(y)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        """log |det ∂z(t₁)/∂z(t₀)| at z(t₀) = x, (…)."""
        return self.call_and_ladj(x)[1]


def rk4(velocity: Velocity, state: Tensor, start: float, end: float, steps: int) -> Tensor:
    """The state at the end by ``steps`` equal steps of the classical Runge-Kutta method; its error falls as steps⁻⁴.

    Args:
        velocity: rate of change of the state.
        state: state at the start, (…, dim).
        start: time of the start.
        end: time of the end, before or after it.
        steps: number of steps, of four evaluations each.

    >>> rk4(lambda t, s: s, torch.tensor([1.0]), 0.0, 1.0, steps=8)
    tensor([2.7183])
    """
    h = (end - start) / steps
    for step in range(steps):
        t = start + step * h
        k1 = velocity(t, state)
        k2 = velocity(t + h / 2, state + h / 2 * k1)
        k3 = velocity(t + h / 2, state + h / 2 * k2)
        k4 = velocity(t + h, state + h * k3)
        state = state + h / 6 * (k1 + 2 * (k2 + k3) + k4)
    return state


def adaptive(
    velocity: Velocity, state: Tensor, start: float, end: float, parameters: Iterable[Tensor], tolerance: float
) -> Tensor:
    """The state at the end by the Dormand-Prince method of zuko, whose steps follow from the error of each.

    The device is waited for at each step. A state or a velocity that is not finite has no such steps: it gives NaN.

    Args:
        velocity: rate of change of the state.
        state: state at the start, (…, dim).
        start: time of the start.
        end: time of the end, before or after it.
        parameters: tensors that the velocity depends on, and that get a gradient where they require one.
        tolerance: largest error of a step, relative to the state; no less than the precision of the numbers allows.
    """
    from zuko.utils import odeint  # late: only this solver needs it

    if not velocity(start, state).isfinite().all():
        return state * torch.nan
    relative = max(tolerance, 10 * torch.finfo(state.dtype).eps)
    learning = [parameter for parameter in parameters if parameter.requires_grad]
    return odeint(velocity, state, start, end, learning, atol=relative / 10, rtol=relative)
