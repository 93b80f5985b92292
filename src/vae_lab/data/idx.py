"""The idx format of MNIST's files: two zeros, the type, the number of dimensions, their sizes, the values."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

GZIP = b"\x1f\x8b"


def unpacked(content: np.ndarray) -> np.ndarray:
    """The bytes of a file, unpacked where gzip packed them, whatever the file is called.

    Args:
        content: bytes of the file, (n,) in uint8.

    Raises:
        ValueError: if the archive is damaged.
    """
    if content[:2].tobytes() != GZIP:
        return content
    try:
        return np.frombuffer(bytearray(gzip.decompress(content.tobytes())), np.uint8)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"it cannot be unpacked: {error}") from error


def array(content: np.ndarray, dimensions: int) -> np.ndarray:
    """The array in the unpacked bytes of a file, without a copy.

    Args:
        content: bytes, (n,) in uint8.
        dimensions: number of dimensions that the array must have.

    Raises:
        ValueError: if the bytes are no idx file of bytes in so many dimensions, or are cut off.
    """
    head, begin = 4 + 4 * dimensions, content[:4].tobytes()
    wanted = bytes((0, 0, 8, dimensions))
    if begin != wanted or len(content) < head:
        begins = begin.hex(" ") or "nothing"
        raise ValueError(
            f"it begins with {begins}, an idx file of bytes in {dimensions} dimensions with {wanted.hex(' ')}"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:head].tobytes())
    if math.prod(shape) != len(content) - head:
        sizes = " × ".join(f"{size:,}" for size in shape)
        raise ValueError(f"its head says {sizes} bytes, and {len(content) - head:,} follow")
    if not math.prod(shape):
        raise ValueError("it holds nothing")
    return content[head:].reshape(shape)


def write(file: Path, values: np.ndarray) -> None:
    """Write an array of bytes to a file.

    Args:
        file: file to write.
        values: array in uint8, of any shape.
    """
    head = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    file.write_bytes(head + values.tobytes())
