"""The border of a model: every image from outside is checked here, and cast to what the model's parts take."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae_lab.errors import ImageError

Shape = tuple[int, int, int]
Values = Tensor | np.ndarray[Any, Any]
Range = tuple[float, float]

NOT_NORMALISED = "undo the normalisation by mean and deviation, or let Gaussian(squash=False) take any value"
TOLERANCE = 1e-3  # resizing and rounding may leave a pixel so far outside its range


def as_tensor(values: Values) -> Tensor:
    """Images or codes from outside as a tensor.

    Args:
        values: a tensor, or a numpy array of numbers, of which a copy is taken.

    Raises:
        ImageError: if it is something else.
    """
    if isinstance(values, Tensor):
        return values
    if not isinstance(values, np.ndarray):
        kind = type(values).__name__
        raise ImageError(f"expected a torch tensor or a numpy array, and this is a {kind}; use torch.as_tensor(x)")
    try:
        # a copy: torch has no negative strides and no other byte order, and warns of arrays that cannot be written to
        return torch.from_numpy(values.astype(values.dtype.newbyteorder("="), order="C"))
    except TypeError as error:
        raise ImageError(f"pixels and codes are real numbers, and these are of numpy's type {values.dtype}") from error


def check_form(images: Tensor, image_shape: Shape, one_batch: bool) -> None:
    """Refuse a tensor of another form than images have; nothing waits for the device.

    Args:
        images: images from outside.
        image_shape: (channels, height, width) of the model's images.
        one_batch: whether the shape is (batch, channels, height, width); else any dimensions may stand before the last
            three.

    Raises:
        ImageError: names the form that was found and the one that is expected.
    """
    if images.is_complex():
        raise ImageError(f"pixels are real numbers, and these are {images.dtype}")
    if images.shape[-3:] != tuple(image_shape) or (one_batch and images.dim() != 4):
        lead = "batch" if one_batch else "…"
        expected = f"({lead}, {', '.join(map(str, image_shape))})"
        raise ImageError(f"the shape is {tuple(images.shape)}, expected {expected}{_remedy(images, image_shape)}")


def check_values(images: Tensor, pixel_range: Range) -> None:
    """Refuse pixels that no image of this model has. The device is waited for.

    Args:
        images: images from outside, of any number type.
        pixel_range: smallest and largest value of a pixel that the model's likelihood takes.

    Raises:
        ImageError: names the values that were found and those that are expected.
    """
    if not images.numel() or images.dtype == torch.bool:
        return
    if images.dtype == torch.uint8:
        if images.max() == 1:
            raise ImageError(
                "uint8 pixels are grey levels from 0 to 255, and no pixel is above 1; use x.float() for bits"
            )
        return
    found = images if images.is_floating_point() else images.float()
    least, most = torch.stack(torch.aminmax(found.detach())).tolist()
    low, high = pixel_range
    if not (math.isfinite(least) and math.isfinite(most)):
        broken = int((~found.isfinite()).sum())
        raise ImageError(f"{broken:,} of {found.numel():,} pixels are NaN or infinite; leave these images out")
    if least < low - TOLERANCE or most > high + TOLERANCE:
        remedy = "divide by 255" if least >= 0 and most <= 255 else NOT_NORMALISED
        expected = f"this model's likelihood takes {low:g} to {high:g}" + (f"; {remedy}" if high == 1 else "")
        raise ImageError(f"pixels lie between {least:.4g} and {most:.4g}, and {expected}")


def check_bits(images: Tensor) -> None:
    """Refuse pixels that are not 0 or 1 (0 or 255 as bytes). The device is waited for.

    Args:
        images: images from outside, of any number type.

    Raises:
        ImageError: says how they become bits.
    """
    one = 255 if images.dtype == torch.uint8 else 1
    if not ((images == 0) | (images == one)).all():
        raise ImageError("this model's pixels are 0 or 1, and these have grey levels; use torch.bernoulli(x)")


def check_levels(images: Tensor, levels: int) -> None:
    """Refuse pixels that are not near a level k / (levels − 1). The device is waited for.

    Args:
        images: images from outside, of any number type.
        levels: number of levels of a pixel.

    Raises:
        ImageError: says how they become levels.
    """
    if not images.numel() or (images.dtype == torch.uint8 and levels == 256):
        return
    # a quarter of eps is how far rounding moves a number below 1
    tolerance = max(TOLERANCE, torch.finfo(images.dtype).eps / 4) if images.is_floating_point() else TOLERANCE
    places = (images.float() / (255 if images.dtype == torch.uint8 else 1)) * (levels - 1)
    between = int(((places - places.round()).abs() > tolerance * (levels - 1)).sum())
    if between:
        n = levels - 1
        expected = f"this model's likelihood takes the {levels} levels k/{n}; use (x * {n}).round() / {n}"
        raise ImageError(f"{between:,} of {images.numel():,} pixels are between two levels, and {expected}")


def cast(values: Tensor, like: Tensor) -> Tensor:
    """Values on the device and in the precision of another tensor; bytes become grey levels from 0 to 1.

    Args:
        values: images or codes.
        like: a tensor of the model.
    """
    found = values.to(like.device, like.dtype)
    return found / 255 if values.dtype == torch.uint8 else found


def _remedy(images: Tensor, image_shape: Shape) -> str:
    """How a common other layout becomes the expected one, or nothing."""
    channels, height, width = image_shape
    found = tuple(images.shape)
    if found == tuple(image_shape):
        return "; x[None] is a batch of one"
    if found[-3:] == (height, width, channels):
        return "; x.movedim(-1, -3) puts the channels first"
    if len(found) in (2, 3) and found[-2:] == (height, width) and channels == 1:
        return "; x.unsqueeze(-3) adds the channel"
    if found[-1:] == (channels * height * width,):
        return f"; use x.unflatten(-1, {tuple(image_shape)})"
    return ""
