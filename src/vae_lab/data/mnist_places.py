"""Where the four files of MNIST, and of sets like it, may be, and what else is there."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vae_lab.errors import DataError

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
# what vae_lab, torchvision and file systems put beside the files
_USUAL = {*DATASETS.values(), "raw", "processed", "classifier.pt", "classifier.lock", "lost+found"}


def find(folder: Path) -> list[list[Path]]:
    """The files of a set, under any of their usual names, at the first place that has one of them.

    Args:
        folder: folder of the set; its ``raw`` is where the files belong, and places one level up and down follow.

    Returns:
        for each of the four files those that may be it, the usual name first, unpacked before packed.

    Raises:
        DataError: if files of one name are in several folders, or one is a link that leads nowhere.
    """
    for places in _places(folder):
        found = [[path for place in places for path in _called(place, name)] for name in FILES]
        for paths in found:
            _check_paths(paths)
        if any(found):
            return found
    return [[] for _ in FILES]


def check_free(folder: Path, name: str) -> None:
    """Refuse to fetch a set into a folder that holds something else.

    Args:
        folder: folder of the set, in which some of its files are missing.
        name: name of the set, for the message.

    Raises:
        DataError: says what is there, and what would have to be.
    """
    raw, root, found = folder / "raw", folder.parent, find(folder)
    missing = [file for file, paths in zip(FILES, found, strict=True) if not paths]
    elsewhere = {str(path.parent) for paths in found for path in paths} - {str(raw)}
    if elsewhere:
        raise DataError(
            f"{', '.join(sorted(elsewhere))} holds some files of {name} and lacks {', '.join(missing)}; add it"
        )
    place = next((place for place in (raw, folder, root) if place.is_dir()), root)
    others = [entry for entry in _entries(place) if not _is_usual(entry)]
    if others:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        there = ", ".join(entry.name for entry in others[:3])
        by_hand = "" if place == raw else f", or make the folder {raw} to have {name} there"
        raise DataError(
            f"{place} holds {there}{more}, which is not {name}, so nothing was fetched into it; wanted are "
            f"{', '.join(missing)}, packed or not, in {raw}. Name another folder with data.root=FOLDER or "
            f"VAE_LAB_DATA{by_hand}; for pictures of your own say data=images"
        )


def _places(folder: Path) -> Iterator[list[Path]]:
    """The places where files of a set may be, the usual one first; places of one list count alike."""
    raw, root = folder / "raw", folder.parent
    yield from ([raw], [folder], [root], [root / "raw"])
    others = {_plain(other) for other in DATASETS.values() if other != folder.name}
    below = [entry for place in (raw, folder, root) for entry in _entries(place) if _plain(entry.name) not in others]
    below = [entry for entry in below if entry not in (raw, folder) and os.access(entry, os.R_OK | os.X_OK)]
    yield [place for entry in below for place in (entry, entry / "raw")]


def _entries(place: Path) -> list[Path]:
    """What is in a folder, by name, without what is hidden."""
    return sorted(entry for entry in place.iterdir() if not entry.name.startswith(".")) if place.is_dir() else []


def _called(place: Path, name: str) -> list[Path]:
    """Files in a folder that have a name, or one that differs from it in the usual ways."""
    entries = [entry for entry in _entries(place) if _plain(entry.name) == _plain(name) and not entry.is_dir()]
    return sorted(entries, key=lambda entry: (entry.name.removesuffix(".gz") != name, entry.suffix == ".gz"))


def _plain(name: str) -> str:
    """A name without what differs between copies of one file.

    >>> _plain("train-images.idx3-ubyte"), _plain("test_labels_idx1_ubyte.gz"), _plain("Fashion-MNIST")
    ('trainimagesidx3ubyte', 't10klabelsidx1ubyte', 'fashionmnist')
    """
    return re.sub(r"^test(?=labels|images)", "t10k", re.sub(r"\.gz$|[-._ ]", "", name.lower()))


def _is_usual(entry: Path) -> bool:
    names = {_plain(file) for file in FILES}
    return entry.name in _USUAL or entry.name.startswith("own-") or _plain(entry.name) in names


def _check_paths(paths: list[Path]) -> None:
    """Refuse what is no file, and files of one name in several folders."""
    for path in paths:
        if not path.is_file():
            kind = "a link that leads nowhere" if path.is_symlink() and not path.exists() else "not a plain file"
            raise DataError(f"{path}: is {kind}; repair it, or move it away")
    folders = sorted({str(path.parent) for path in paths})
    if len(folders) > 1:
        raise DataError(f"{paths[0].name} is in several folders: {', '.join(folders)}; name one with data.root=FOLDER")
