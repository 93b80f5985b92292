"""The pictures that runs left, brought into one form: a stranger's file is decoded as PNG, or left out."""

import math
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib import image

LARGEST = 20_000_000  # bytes of a picture
MOST_PIXELS = 30_000_000  # of a picture: a small file can hold a picture that takes all memory
TITLE = 0.06  # of the height of a picture: a title is lower
WHITE = 0.999


def grid_of(file: Path) -> bytes | None:
    """A grid of images as PNG, without its title and margins; None where the file is no picture that can be read.

    Args:
        file: ``samples.png`` of a run.
    """
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            return None
        with file.open("rb") as content:
            if math.prod(struct.unpack(">16x2I", content.read(24))) > MOST_PIXELS:
                return None
        picture = image.imread(file, format="png")
    except Exception:
        # decoders raise errors of many kinds for damaged files
        return None
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, -1)
    image.imsave(written := BytesIO(), cropped_to_grid(picture), format="png")
    return written.getvalue()


def cropped_to_grid(picture: np.ndarray) -> np.ndarray:
    """The part of a picture below its title, without white margins.

    Args:
        picture: colours, (height, width, 3 or 4), in [0, 1].
    """
    colours = picture[..., :3].min(-1)
    rows = np.flatnonzero((colours < WHITE).any(1))
    if not len(rows):
        return picture
    ends = np.flatnonzero(np.diff(rows) > 1)  # of blocks of rows that are not white
    if len(ends) and ends[0] + 1 <= TITLE * len(picture):
        rows = rows[ends[0] + 1 :]
    columns = np.flatnonzero((colours[rows[0] : rows[-1] + 1] < WHITE).any(0))
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
