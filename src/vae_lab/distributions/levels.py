"""Distributions over images whose pixels have the levels k / (n − 1)."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, constraints
from torch.nn.functional import logsigmoid, softplus

from vae_lab.distributions.images import check_shape

AT_ONCE = 2**22  # logits whose exponentials are in memory at once: 16 MB


class _CategoricalLogProb(torch.autograd.Function):
    """log p = Σ_i l_i[k_i] − log Σ_k exp l_i[k], and its gradient onehot(k) − softmax(l).

    The logits of 100 images of 3 × 32 × 32 take 315 MB. Nothing else of that size is kept, and the gradient alone is
    made: by autograd there are three more.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, level: Tensor) -> Tensor:
        normaliser = _log_sum(logits)
        ctx.save_for_backward(logits, level, normaliser)
        return (logits.gather(-4, level).squeeze(-4) - normaliser).flatten(-3).sum(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, level, normaliser = ctx.saved_tensors
        gradient = gradient[..., None, None, None, None]
        if torch.is_grad_enabled():  # this gradient is differentiated too, and forward's results know no inputs
            found = -logits.softmax(-4) * gradient
            return found.scatter_add(-4, level, gradient.expand(level.shape)), None
        found = (logits - normaliser.unsqueeze(-4)).exp_().mul_(-gradient)
        return found.scatter_add_(-4, level, gradient.expand(level.shape)), None


def _log_sum(logits: Tensor) -> Tensor:
    """log Σ exp over the levels of logits (…, levels, channels, height, width), in parts that fit into a cache."""
    images = logits.flatten(0, -5) if logits.dim() > 4 else logits[None]
    parts = images.split(max(1, AT_ONCE // images.shape[1:].numel()))
    return torch.cat([part.logsumexp(1) for part in parts]).view(*logits.shape[:-4], *logits.shape[-3:])


class LevelImage(Distribution, ABC):
    """Independent pixels, each with a probability for every level k / (n − 1), k = 0 … n − 1.

    Args:
        numbers: a parameter of the pixels, (…, channels, height, width).
        levels: number n of levels.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(self, numbers: Tensor, levels: int) -> None:
        super().__init__(numbers.shape[:-3], numbers.shape[-3:], validate_args=False)
        self.levels = levels

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (…, channels, height, width) in nats, (…); values count as the nearest level."""
        check_shape(value, self.event_shape)
        # half precision still tells levels apart, but their distance from a location needs more
        return self._log_prob((value.to(torch.promote_types(value.dtype, torch.float32)) * (self.levels - 1)).round())

    @abstractmethod
    def _log_prob(self, level: Tensor) -> Tensor:
        """Log-probability of levels 0 … n − 1 as whole floats, (…)."""


class CategoricalImage(LevelImage):
    """A probability of its own for each level of each pixel.

    Args:
        logits: logits of the levels, (…, levels, channels, height, width).
    """

    def __init__(self, logits: Tensor) -> None:
        super().__init__(logits.select(-4, 0), logits.shape[-4])
        self.logits = logits.to(torch.promote_types(logits.dtype, torch.float32))

    @property
    def mean(self) -> Tensor:
        """Expected level of each pixel, (…, channels, height, width)."""
        grid = torch.linspace(0, 1, self.levels, dtype=self.logits.dtype, device=self.logits.device)
        return torch.tensordot(self.logits.softmax(-4).movedim(-4, -1), grid, 1)

    def _log_prob(self, level: Tensor) -> Tensor:
        lead = torch.broadcast_shapes(level.shape[:-3], self.batch_shape)
        logits = self.logits.expand(*lead, *self.logits.shape[-4:])
        return _CategoricalLogProb.apply(logits, level.long().expand(*lead, *self.event_shape).unsqueeze(-4))

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Images, (sample_shape, …, channels, height, width)."""
        pixels = Categorical(logits=self.logits.movedim(-4, -1), validate_args=False)
        return pixels.sample(torch.Size(sample_shape)).to(self.logits.dtype) / (self.levels - 1)


class LogisticMixtureImage(LevelImage):
    """Levels of a mixture of logistic distributions that is cut into pieces, δ = 1 / (n − 1) wide, around the levels.

    With a, b = (x ± ½δ − m) / s the probability of a piece is σ(a) − σ(b) = σ(a) σ(−b) (1 − e^{b − a}), whose logarithm
    needs no approximation, however small it is. The first piece has no lower end, and the last one no upper one.

    Args:
        logits: logits of the components, (…, components, channels, height, width).
        location: m of each component, of the same shape.
        scale: s of each component, of the same shape.
        levels: number n of levels.
    """

    def __init__(self, logits: Tensor, location: Tensor, scale: Tensor, levels: int) -> None:
        super().__init__(logits.select(-4, 0), levels)
        wide = torch.promote_types(logits.dtype, torch.float32)
        self.logits, self.location, self.scale = logits.to(wide), location.to(wide), scale.to(wide)

    @property
    def mean(self) -> Tensor:
        """Expected level of each pixel, to half a level, (…, channels, height, width).

        The mean of a logistic number that is cut off at 0 and 1 is s [softplus(m / s) − softplus((m − 1) / s)].
        """
        upper, lower = softplus(self.location / self.scale), softplus((self.location - 1) / self.scale)
        return (self.logits.softmax(-4) * self.scale * (upper - lower)).sum(-4).clamp(0, 1)

    def _log_prob(self, level: Tensor) -> Tensor:
        level = level.unsqueeze(-4)
        middle = level / (self.levels - 1) - self.location
        half = 0.5 / (self.levels - 1)
        first, last = level == 0, level == self.levels - 1
        of_ends = torch.where(last, 0, logsigmoid((middle + half) / self.scale))
        of_ends = of_ends + torch.where(first, 0, logsigmoid((half - middle) / self.scale))
        of_width = torch.where(first | last, 0, torch.log(-torch.expm1(-2 * half / self.scale)))
        return (self.logits.log_softmax(-4) + of_ends + of_width).logsumexp(-4).flatten(-3).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Images, (sample_shape, …, channels, height, width): of a drawn component, to the nearest level."""
        shape = torch.Size(sample_shape)
        chosen = Categorical(logits=self.logits.movedim(-4, -1), validate_args=False).sample(shape).unsqueeze(-4)
        location, scale = (
            part.expand(*shape, *part.shape).gather(-4, chosen).squeeze(-4) for part in (self.location, self.scale)
        )
        drawn = location + scale * torch.logit(torch.rand_like(location), eps=torch.finfo(location.dtype).tiny)
        return (drawn.clamp(0, 1) * (self.levels - 1)).round() / (self.levels - 1)
