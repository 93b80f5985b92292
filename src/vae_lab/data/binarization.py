"""From grey levels to the pixels that a model sees."""

from typing import Literal

import torch
from torch import Tensor

from vae_lab.randomness import fixed_noise

Binarization = Literal["dynamic", "static", "threshold", "none"]


def draw(pixels: Tensor) -> Tensor:
    """One Bernoulli draw of each pixel with probability grey level / 255, on the pixels' device.

    Args:
        pixels: uint8 grey levels, of any shape.

    Source: Salakhutdinov and Murray, On the quantitative analysis of deep belief networks (2008),
    https://homepages.inf.ed.ac.uk/imurray2/pub/08dbn_ais/

    >>> draw(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([0., 1.])
    """
    if pixels.device.type != "cpu" or pixels.numel() % 8:
        return torch.bernoulli(scale(pixels))
    # On the CPU torch draws number by number; eight bytes of one draw take a third of the time. p / 255 is 0.ppp…
    # in base 256: a random byte below p gives 1, above p 0, and where it is p the next digits decide.
    digits = torch.empty(pixels.numel() // 8, dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
    rows, digits = pixels.reshape(-1, 8), digits.view(-1, 8)
    bits, undecided = digits < rows, digits == rows
    some = undecided.view(torch.int64).squeeze(1).nonzero().squeeze(1)
    bits[some] |= undecided[some] & torch.bernoulli(scale(rows[some])).bool()
    return bits.view(pixels.shape).float()


def scale(pixels: Tensor) -> Tensor:
    """Grey levels 0 … 255 as floats in [0, 1]."""
    return pixels.float().div_(255)


def freeze(pixels: Tensor, binarization: Binarization, seed: int) -> Tensor:
    """Pixels that no longer change, 0 … 255: one fixed draw, a threshold at ½, or the grey levels.

    Args:
        pixels: uint8 grey levels, of any shape.
        binarization: how pixels are made; dynamic and static are drawn once, threshold and none are not random.
        seed: seed of the draw; the caller's random numbers do not change.
    """
    if binarization == "none":
        return pixels
    if binarization == "threshold":
        return (pixels > 127).byte() * 255
    with fixed_noise(seed, pixels.device):
        # in slices, so that a large set does not need four bytes a pixel at once
        return torch.cat([draw(part).byte() * 255 for part in pixels.split(10_000)])
