"""The files of torchvision's sets: found, fetched, read by torchvision's own classes.

What is fetched is complete in a folder of its own before it is moved to where torchvision looks for it, so that a
download that stops leaves nothing behind that looks whole. A file of the user's is never written over.
"""

import hashlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vae_lab.data.base import Split
from vae_lab.data.mirrors import SILENCE
from vae_lab.data.torchvision_table import SETS
from vae_lab.errors import DataError, reason_of, unusable
from vae_lab.files.atomic import put_new
from vae_lab.files.locks import locked

log = logging.getLogger(__name__)

Arguments = dict[str, Any]  # of a class of torchvision.datasets, for one group of images


class File(NamedTuple):
    """A file below the root of torchvision's sets."""

    path: str
    """Path below the root."""
    md5: str | None = None
    """Checksum of its content; None where none was published."""


@lru_cache(maxsize=1)
def load_once(name: str, split: str, root: Path) -> tuple[Split, Split]:
    """Training and test set as uint8 images (n, channels, height, width) and int64 labels (n,), fetched if needed.

    The same tensors at each call: the runs of a sweep in one process read the files once. They are shared: do not
    write to them.

    Args:
        name: name of the set, a key of SETS.
        split: choice of ``data.split``.
        root: folder with the files as torchvision arranges them.

    Raises:
        DataError: if a file is damaged, or is missing and cannot be fetched.
    """
    part = SETS[name].parts[split]
    groups = [*part.training, part.test]
    try:
        if _missing(name, groups, root):
            _fetch(name, groups, root)
        pairs = [_read(name, arguments, root, part.first_label) for arguments in groups]
    except OSError as error:
        raise DataError(f"the data folder {root}: {unusable(error)} with data.root=FOLDER or VAE_LAB_DATA") from error
    training = [torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pairs[:-1], strict=True)]
    splits = (training[0], training[1]), pairs[-1]
    for (images, _), size in zip(splits, (part.train_size, part.test_size), strict=True):
        if (found := (len(images), *images.shape[1:])) != (wanted := (size, *SETS[name].shape)):
            raise DataError(f"{root}: the files of {name} hold {_sizes(found)} values, not {_sizes(wanted)}; {_AGAIN}")
    if part.labels is None:
        return tuple((images, torch.zeros(len(images), dtype=torch.int64)) for images, _ in splits)  # type: ignore[return-value]
    return splits


_AGAIN = "move them away, and they are fetched"


def _sizes(shape: Sequence[int]) -> str:
    return " × ".join(f"{size:,}" for size in shape)


def _class(name: str) -> Any:
    import torchvision.datasets  # late: it takes a second to import

    return getattr(torchvision.datasets, name)


def files_of(name: str, arguments: Arguments) -> tuple[list[File], list[File]]:
    """The files that torchvision's class reads for a group of images, and those that it fetches for them.

    Args:
        name: name of the set.
        arguments: arguments of the class.
    """
    kind = _class(name)
    if name in ("CIFAR10", "CIFAR100", "STL10"):  # one archive with a folder
        of_class = [*kind.train_list, *kind.test_list]
        if hasattr(kind, "meta"):
            of_class.append((kind.meta["filename"], kind.meta["md5"]))
        return [File(f"{kind.base_folder}/{file}", md5) for file, md5 in of_class], [File(kind.filename, kind.tgz_md5)]
    if name in ("SVHN", "USPS"):  # read as they are fetched
        split = arguments.get("split") or ("train" if arguments["train"] else "test")
        fetched = [File(*kind.split_list[split][1:])]
        return fetched, fetched
    if name == "EMNIST":
        prefix = f"EMNIST/raw/emnist-{arguments['split']}-{'train' if arguments['train'] else 'test'}"
        read = [File(f"{prefix}-{kinds}-ubyte") for kinds in ("images-idx3", "labels-idx1")]
        return read, [File(f"EMNIST/raw/{Path(kind.url).name}", kind.md5)]
    if name == "QMNIST":
        resources = kind.resources[kind.subsets[arguments["what"]]]
        fetched = [File(f"QMNIST/raw/{Path(url).name}", md5) for url, md5 in resources]
        return [File(file.path.removesuffix(".gz")) for file in fetched], fetched
    folder = "images_background" if arguments["background"] else "images_evaluation"
    archive = File(f"{kind.folder}/{folder}.zip", kind.zips_md5[folder])
    return [archive, File(f"{kind.folder}/{folder}")], [archive]


def _missing(name: str, groups: Sequence[Arguments], root: Path) -> bool:
    """Whether a file that is read is missing.

    Raises:
        DataError: if one is there and damaged.
    """
    files = {file for arguments in groups for file in files_of(name, arguments)[0]}
    _check(name, files, root)
    return not all((root / file.path).exists() for file in files)


def _check(name: str, files: set[File], root: Path) -> None:
    """Refuse files that are there with another checksum than the set's; nothing is opened before."""
    for path, md5 in sorted((file.path, file.md5) for file in files if file.md5):
        if (root / path).is_file() and _md5(root / path) != md5:
            reason = f"is damaged, or not the file of {name}: its checksum is another"
            raise DataError(f"{root / path}: {reason}; move it away, and {name}'s is fetched")


def _md5(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch(name: str, groups: Sequence[Arguments], root: Path) -> None:
    """Fetch what is missing, or unpack archives that are there; one process at a time."""
    archives = {file for arguments in groups for file in files_of(name, arguments)[1]}
    root.mkdir(parents=True, exist_ok=True)
    with locked(root / f".{name}.lock", "put the files there by hand, or name another folder with data.root=FOLDER"):
        if not _missing(name, groups, root):  # another process fetched them meanwhile
            return
        _check(name, archives, root)
        absent = [file.path for file in sorted(archives) if not (root / file.path).exists()]
        log.info("%s is not there yet: %s", name, f"fetching it into {root}" if absent else f"unpacking it in {root}")
        with tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as temporary, _patience():
            place = Path(temporary)
            try:
                _download(name, groups, archives, root, place)
            except Exception as error:  # of the network or of an archive, in whatever form
                raise DataError(_not_fetched(name, absent, root, error)) from error
            _move(place, root, {file.path for file in archives})


def _download(name: str, groups: Sequence[Arguments], archives: set[File], root: Path, place: Path) -> None:
    """Let torchvision fetch and unpack into a place, from the archives of the root where they are."""
    for archive in archives:
        if (root / archive.path).exists():
            (place / archive.path).parent.mkdir(parents=True, exist_ok=True)
            (place / archive.path).symlink_to((root / archive.path).resolve())
    for arguments in groups:
        _class(name)(str(place), **arguments, download=True)
    _check(name, {file for arguments in groups for file in files_of(name, arguments)[0]}, place)


def _not_fetched(name: str, absent: Sequence[str], root: Path, error: Exception) -> str:
    reason = reason_of(error)
    if not absent:
        return f"{name} in {root}: its archive cannot be unpacked ({reason}); free some space, or {_AGAIN}"
    folder, names = root / Path(absent[0]).parent, ", ".join(Path(path).name for path in absent)
    return f"{name} is not there and could not be fetched ({reason}). Put {names} into {folder}"


def _move(place: Path, root: Path, archives: set[str]) -> None:
    """Move fetched files to the root, archives last, since some are looked at to see whether all is there."""
    files = [path.relative_to(place) for path in place.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in sorted(files, key=lambda path: (str(path) in archives, path)):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(root / path):
            put_new(place / path, root / path)


@contextmanager
def _patience() -> Iterator[None]:
    """A connection that is silent for some time is given up; torchvision's would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _read(name: str, arguments: Arguments, root: Path, first_label: int) -> Split:
    """One group of images and their labels, as torchvision reads them."""
    labels: Any
    try:
        found = _class(name)(str(root), **arguments)
        if name == "Omniglot":  # it opens each image when it is asked for
            pairs = [(np.asarray(image), label) for image, label in found]
            images, labels = np.stack([image for image, _ in pairs]), [label for _, label in pairs]
        else:
            images, labels = found.data, found.targets if hasattr(found, "targets") else found.labels
    except OSError:
        raise
    except Exception as error:  # whatever torchvision, numpy and pickle make of a damaged file
        files = ", ".join(str(root / file.path) for file in files_of(name, arguments)[0])
        raise DataError(f"{files}: cannot be read ({reason_of(error)}); {_AGAIN}") from error
    numbers = torch.as_tensor(np.asarray(labels)).long()
    if numbers.ndim > 1:
        numbers = numbers[:, 0].clone()  # of QMNIST, whose further columns say who wrote the digit
    return _upright(torch.as_tensor(np.asarray(images)), SETS[name].layout), numbers - first_label


def _upright(images: Tensor, layout: str) -> Tensor:
    """Images (n, channels, height, width) from those whose dimensions are in another order, or without channels."""
    if "C" not in layout:
        images, layout = images.unsqueeze(1), f"C{layout}"
    return images.permute(0, *(1 + layout.index(letter) for letter in "CHW")).contiguous()
