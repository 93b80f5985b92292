"""Pictures decoded once, and kept as one array in the user's cache."""

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from platformdirs import user_cache_dir

from vae_lab.data import pictures
from vae_lab.data.own_images import HeldOut, OwnSet, split_of
from vae_lab.data.pictures import Damaged, Head, Picture
from vae_lab.errors import ConfigError, DataError
from vae_lab.files.atomic import replace_file, replacing
from vae_lab.files.locks import locked
from vae_lab.paths import data_folder

log = logging.getLogger(__name__)

MAPPED_ABOVE = 2**30  # bytes: a larger array stays on the disk, and the system keeps in memory what is used
IMAGES, LABELS, FACTS = "images.npy", "labels.npy", "facts.json"
FORM = 1  # of the cached files; another number makes them again


class Wish(NamedTuple):
    """What a config says of the pictures."""

    root: Path
    size: tuple[int, int] | None
    """Height and width; None keeps the size of the files."""
    channels: Literal[1, 3] | None
    validation: HeldOut | Literal["none"]
    test: HeldOut
    split_seed: int
    skip_damaged: bool


def load(wish: Wish) -> tuple[OwnSet, Path]:
    """The pictures as arrays, and the folder in the user's cache that holds them; decoded where they are not there.

    Args:
        wish: which pictures, how large, and for what.

    Raises:
        ConfigError: if no size is given and the pictures have several.
        DataError: if there are no pictures, or some are damaged.
    """
    found = pictures.find(wish.root)
    folder = _cache(wish.root) / _key(wish, found)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".lock", "name another folder with VAE_LAB_DATA"):
        if not (folder / FACTS).exists():
            _decode(wish, found, folder)
    return _read_once(folder), folder


def _cache(root: Path) -> Path:
    """Where arrays are kept: never in the folder of the pictures, even if VAE_LAB_DATA names it."""
    usual = Path(user_cache_dir("vae_lab"))
    named = data_folder()
    return (usual if named.resolve().is_relative_to(root.resolve()) else named) / "images"


def _key(wish: Wish, found: Sequence[Picture]) -> str:
    """A name for the result: it changes with the names, sizes and times of the files and with what is wished."""
    digest = hashlib.sha256(repr((FORM, wish._replace(root=Path()))).encode())
    for picture in found:
        file = wish.root / picture.path
        status = file.stat() if file.exists() else file.lstat()  # of a link that leads nowhere
        digest.update(repr((picture, status.st_size, status.st_mtime_ns)).encode())
    return digest.hexdigest()[:24]


def _decode(wish: Wish, found: Sequence[Picture], folder: Path) -> None:
    """Decode the pictures into a folder; the file with the facts is the last one."""
    log.info("reading %s pictures in %s, once; they are kept in %s", f"{len(found):,}", wish.root, folder)
    found, shape = _with_shape(wish, found)
    while True:
        chosen = split_of(pictures.part_indices(found), wish.validation, wish.test, wish.split_seed)
        ordered = [found[i] for i in torch.cat(chosen).tolist()]
        damaged, digest = _write_images(wish, ordered, shape, folder / IMAGES)
        if not damaged:
            break
        found = _without(damaged, found, wish)  # the split is that of the pictures that can be read
    names = sorted({picture.label for picture in found if picture.label is not None}, key=_in_order)
    numbers = [names.index(picture.label) if picture.label is not None else 0 for picture in ordered]
    with replacing(folder / LABELS) as file:
        np.save(file, np.asarray(numbers, np.int64))
    facts = {"names": names or None, "sizes": [len(part) for part in chosen], "sha256": digest}
    replace_file(folder / FACTS, json.dumps(facts, ensure_ascii=False))


def _in_order(name: str) -> tuple[bool, int, str]:
    """Numbers come before other names, 2 before 10."""
    return not name.isdecimal(), int(name) if name.isdecimal() else 0, name


def _with_shape(wish: Wish, found: Sequence[Picture]) -> tuple[Sequence[Picture], tuple[int, int, int]]:
    """The pictures that can be opened, and the shape that all get."""
    if wish.size and wish.channels:
        return found, (wish.channels, *wish.size)
    heads = pictures.heads(wish.root, found)
    if damaged := [head for head in heads if isinstance(head, Damaged)]:
        if not wish.skip_damaged:  # those whose end is missing, too, so that one message names all
            opened = [picture for picture, head in zip(found, heads, strict=True) if isinstance(head, Head)]
            small = pictures.decoded(wish.root, opened, (1, 1, 1))
            damaged = sorted([*damaged, *(one for one in small if isinstance(one, Damaged))])
        found = _without(damaged, found, wish)
    good = [head for head in heads if isinstance(head, Head)]
    size = wish.size or _one_size(good, found)
    return found, (wish.channels or (1 if all(head.is_grey for head in good) else 3), *size)


def _one_size(heads: Sequence[Head], found: Sequence[Picture]) -> tuple[int, int]:
    counts = Counter((head.height, head.width) for head in heads)
    if len(counts) > 1:
        examples = {(head.height, head.width): picture.path for head, picture in zip(heads, found, strict=True)}
        shown = ", ".join(f"{h} × {w} ({n:,}, such as {examples[h, w]})" for (h, w), n in counts.most_common(3))
        height, width = counts.most_common(1)[0][0]
        reason = (
            f"the pictures have {len(counts):,} sizes, height × width {shown}; give one: data.size=[{height},{width}]"
        )
        raise ConfigError("data.size", None, reason)
    return next(iter(counts))


def _without(damaged: Sequence[Damaged], found: Sequence[Picture], wish: Wish) -> list[Picture]:
    """The other pictures, if that is what the user wants."""
    line = pictures.said(damaged, len(found), wish.root)
    if not wish.skip_damaged:
        raise DataError(f"{line}; repair or move them, or leave them out with data.skip_damaged=true")
    left = {picture.path for picture in found} - {path for path, _ in damaged}
    if not left:
        raise DataError(line)
    log.warning("%s; left out", line)
    return [picture for picture in found if picture.path in left]


def _write_images(
    wish: Wish, ordered: Sequence[Picture], shape: tuple[int, int, int], target: Path
) -> tuple[list[Damaged], str]:
    """Decode into one file; gives the damaged pictures, and a digest of the names and the content of all."""
    damaged: list[Damaged] = []
    digests = []
    with replacing(target) as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(ordered), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for picture, found in zip(ordered, pictures.decoded(wish.root, ordered, shape), strict=True):
            if isinstance(found, Damaged):
                damaged.append(found)
                continue
            content, pixels = found
            digests.append(f"{picture.path} {hashlib.sha256(content).hexdigest()}")
            file.write(pixels.tobytes())
    if damaged:
        target.unlink()
    return damaged, hashlib.sha256("\n".join(sorted(digests)).encode()).hexdigest()


@lru_cache(maxsize=1)
def _read_once(folder: Path) -> OwnSet:
    """The same tensors at each call: the runs of a sweep in one process read them once. Do not write to them."""
    try:
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text())
        mapped = (folder / IMAGES).stat().st_size > MAPPED_ABOVE
        # copy on write: torch takes no arrays that cannot be written to
        images = np.load(folder / IMAGES, mmap_mode="c" if mapped else None, allow_pickle=False)
        labels = np.load(folder / LABELS, allow_pickle=False)
        names, (train, val, test) = facts["names"], facts["sizes"]
        if not len(images) == len(labels) == train + val + test:
            raise ValueError("the numbers of images and labels differ")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{folder}: damaged ({error}); delete this folder, and the pictures are read again") from error
    return OwnSet(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        tuple(names) if names else None,
        (train, val, test),
        str(facts["sha256"]),
    )
