"""A planar layer as a transform of torch.distributions, exact in both directions."""

import math

import torch
from torch import Tensor
from torch.distributions import Transform, constraints
from torch.nn.functional import softplus

NEUTRAL = math.log(math.e - 1)  # softplus(NEUTRAL) = 1


class PlanarTransform(Transform):
    """From noise to code, ε ↦ z, with the inverse in closed form: ε = z + û tanh(w·z + b).

    Training needs densities, and a density needs ε from z: this direction costs one product.
    Sampling needs z from ε: along w it is the root a of a + (w·û) tanh(a) = w·ε + b, bracketed by
    w·ε + b ± |w·û|; then z = ε − û tanh(a). There is one root only, since û is u moved along w so that
    w·û = softplus(w·u + shift) − 1 > −1 for all u and w.

        log |det ∂ε/∂z| = log(1 + (w·û) sech²(w·z + b)) = log(tanh²(w·z + b) + softplus(w·u + shift) sech²(w·z + b))

    A posterior is drawn from more often than it is asked for a density, so it takes the inverse of this transform: the
    direction in closed form is then that of drawing.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows (2015), section 4 and appendix A.1,
    https://arxiv.org/abs/1505.05770

    Args:
        u: direction, (latent,), or (batch, latent) for a layer of each image, before it is made invertible.
        w: normal of the plane, of the same shape, not zero.
        b: offset, () or (batch,).
        shift: what is added to w·u; at ``NEUTRAL`` = log(e − 1) the layer is the identity where u = 0.
    """

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, u: Tensor, w: Tensor, b: Tensor, shift: float = 0.0) -> None:
        super().__init__()
        self.w, self.b = w, b
        given = self._along(u)
        self.slack = softplus(given + shift if shift else given)  # 1 + w·û
        self.product = self.slack - 1
        self.u = u + (self.product - given)[..., None] * w / w.square().sum(-1, keepdim=True)

    def _call(self, x: Tensor) -> Tensor:
        a = self._root(self._along(x) + self.b)
        return x - a.tanh()[..., None] * self.u

    def _inverse(self, y: Tensor) -> Tensor:
        return y + (self._along(y) + self.b).tanh()[..., None] * self.u

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:  # noqa: ARG002
        """log |det ∂z/∂ε| at z = y, (…)."""
        a = self._along(y) + self.b
        sech2 = 4 * (2 * a).sigmoid() * (-2 * a).sigmoid()
        # the second form of the formula: a sum of positive terms, exact even where w·û is close to −1
        return -torch.log(a.tanh().square() + self.slack * sech2)

    def _along(self, x: Tensor) -> Tensor:
        """w·x, (…)."""
        return x @ self.w if self.w.dim() == 1 else torch.linalg.vecdot(x, self.w)

    def _root(self, target: Tensor) -> Tensor:
        """The a with a + (w·û) tanh(a) = target, by bisection down to the precision of the numbers."""
        with torch.no_grad():
            reach = self.product.abs()
            low, high = target - reach, target + reach
            for _ in range(40 if target.dtype == torch.float32 else 80):
                middle = (low + high) / 2
                above = middle + self.product * middle.tanh() > target
                low, high = torch.where(above, low, middle), torch.where(above, middle, high)
            root = (low + high) / 2
            tanh = root.tanh()
            slope = tanh.square() + self.slack * (1 - tanh.square())
        if not torch.is_grad_enabled():
            return root
        # one Newton step, only for its gradient: that of the implicit function
        return root - (root + self.product * tanh - target) / slope
