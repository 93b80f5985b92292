"""Binary images as patches, each one of all patterns that its pixels can form."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Patches(NamedTuple):
    """How an image is cut into patches, by rows and then by columns.

    Args:
        image_shape: (channels, height, width) of the images; both sizes are multiples of that of a patch.
        size: height and width of a patch, in pixels.
    """

    image_shape: tuple[int, int, int]
    size: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and of columns of patches."""
        return self.image_shape[1] // self.size, self.image_shape[2] // self.size

    @property
    def values(self) -> int:
        """Number of values of a patch: channels × size²."""
        return self.image_shape[0] * self.size**2

    def cut(self, x: Tensor) -> Tensor:
        """Values of each patch, (n, patches, values), of images (n, channels, height, width)."""
        n, channels, rows, columns = len(x), self.image_shape[0], *self.shape
        parts = x.view(n, channels, rows, self.size, columns, self.size)
        return parts.permute(0, 2, 4, 1, 3, 5).reshape(n, rows * columns, self.values)

    def join(self, values: Tensor) -> Tensor:
        """Images (n, channels, height, width) of patches (n, patches, values)."""
        n, channels, rows, columns = len(values), self.image_shape[0], *self.shape
        parts = values.view(n, rows, columns, channels, self.size, self.size)
        return parts.permute(0, 3, 1, 4, 2, 5).reshape(n, *self.image_shape)


class PatternImage(Distribution):
    """p(x) = Π_t p_t(pattern of patch t), with a probability for each of the 2^values patterns of a binary patch.

    The pixels of a patch depend on each other in every way; the patches are independent given the logits.

    Args:
        logits: logits of the patterns of each patch, (n, patches, 2^values). A pattern's number has the first value of
            the patch as its highest bit.
        patches: how images are cut.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}

    def __init__(self, logits: Tensor, patches: Patches) -> None:
        super().__init__(logits.shape[:1], torch.Size(patches.image_shape), validate_args=False)
        # in half precision a sum over patches would lose nats
        self.logits, self.patches = logits.to(torch.promote_types(logits.dtype, torch.float32)), patches

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (n, channels, height, width) of zeros and ones in nats, (n,)."""
        places = torch.arange(self.patches.values - 1, -1, -1, device=value.device)
        numbers = (self.patches.cut(value).long() << places).sum(-1)
        chosen = self.logits.gather(-1, numbers[..., None]).squeeze(-1)
        return (chosen - self.logits.logsumexp(-1)).sum(-1)


def bits_of(numbers: Tensor, values: int) -> Tensor:
    """Bits of the numbers of patterns (…,), the highest first, (…, values), int64."""
    return numbers[..., None] >> torch.arange(values - 1, -1, -1, device=numbers.device) & 1


def draw_pattern(logits: Tensor) -> Tensor:
    """Values (n, values) of a pattern drawn by its logits (n, 2^values)."""
    numbers = torch.multinomial(logits.softmax(-1), 1).squeeze(-1)
    return bits_of(numbers, logits.shape[-1].bit_length() - 1).to(logits.dtype)
