"""Pictures in a folder: which there are, how large, and their pixels."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from vae_lab.data.own_images import NAMES_OF_PARTS
from vae_lab.errors import DataError, reason_of

log = logging.getLogger(__name__)

T = TypeVar("T")

GREY = ("1", "L", "LA", "La")  # and those with more than eight bits
DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I")
Image.init()
# not those that other programs read, which Pillow would start
FORMATS = tuple(set(Image.OPEN) - {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"})
SUFFIXES = {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}
ORIENTATION = 0x0112  # in EXIF: from 5 on, height and width are exchanged
AT_ONCE = 50  # pictures of a thread's task: handing over each alone takes longer than decoding it
AHEAD = 40  # tasks that may be finished before their pictures are taken, so that a large set is never in memory
SHOWN = 20  # files named in a message


class Picture(NamedTuple):
    """A file with a picture."""

    path: str
    """Path below the folder, with slashes."""
    part: str
    """train, val or test."""
    label: str | None
    """Name of the folder that says what it shows."""


class Head(NamedTuple):
    """What the beginning of a file says."""

    height: int
    width: int
    is_grey: bool


class Damaged(NamedTuple):
    """A file that cannot be read, and why."""

    path: str
    reason: str


def find(root: Path) -> list[Picture]:
    """The pictures in a folder and below it, by path.

    Where it has a folder ``train``, ``val`` (``valid``, ``validation``) or ``test``, these are the parts, and nothing
    else is used. The first folder below, or below a part, is the label, where each picture is in one.

    Args:
        root: the folder. Hidden files and folders are left out, links to folders are followed.

    Raises:
        DataError: if there is no such folder, or it has no pictures to train on.
    """
    if not root.is_dir():
        raise DataError(f"data.root={root}: there is no such folder; name the one that holds your pictures")
    paths = sorted(_walk(root, root))
    pictures = [path for path in paths if Path(path).suffix.lower() in SUFFIXES]
    tops = {path.split("/")[0] for path in pictures if "/" in path}
    parts = {top: NAMES_OF_PARTS[top.lower()] for top in tops if top.lower() in NAMES_OF_PARTS}
    inside = [path for path in pictures if not parts or path.split("/")[0] in parts]
    used = set(inside)
    others = Counter(Path(path).suffix or path for path in paths if path not in used)
    if others:
        shown = ", ".join(f"{n:,} × {name}" for name, n in others.most_common(5))
        log.info("%s: %s files are not used (%s)", root, f"{others.total():,}", shown)
    found = [_picture(path, parts) for path in inside]
    if not any(picture.part == "train" for picture in found):
        beside = f"only in {', '.join(sorted(parts))}" if found else f"{len(paths):,} files of other kinds"
        raise DataError(f"data.root={root}: there are no pictures to train on ({beside}); name their folder")
    if any(picture.label is None for picture in found):
        found = [picture._replace(label=None) for picture in found]
    return found


def _walk(root: Path, folder: Path, above: tuple[tuple[int, int], ...] = ()) -> Iterator[str]:
    """Paths of the files below a folder, without what is hidden; links are followed, except those that lead back."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        if entry.is_dir():
            yield from _walk(root, entry, (*above, here))
        else:
            yield entry.relative_to(root).as_posix()


def _picture(path: str, parts: dict[str, str]) -> Picture:
    *folders, _ = path.split("/")
    part = "train"
    if parts:
        part, folders = parts[folders[0]], folders[1:]
    return Picture(path, part, folders[0] if folders else None)


def heads(root: Path, pictures: Sequence[Picture]) -> list[Head | Damaged]:
    """Size and kind of each picture, from the beginning of its file."""
    return list(_in_parallel(lambda picture: _guarded(root, picture, _head), pictures, "looking at pictures"))


def decoded(
    root: Path, pictures: Sequence[Picture], shape: tuple[int, int, int]
) -> Iterator[tuple[bytes, np.ndarray] | Damaged]:
    """Content and pixels of each picture, uint8 (channels, height, width).

    A picture of another size is scaled until it covers the shape, and its centre is cut out. 16 bits become the 8
    higher ones; what is transparent becomes white; of several pictures in a file the first is used.

    Args:
        root: folder of the pictures.
        pictures: the pictures.
        shape: channels (1 grey, 3 red, green and blue), height and width.
    """

    def one(picture: Picture) -> tuple[bytes, np.ndarray] | Damaged:
        return _guarded(root, picture, lambda path: _content_and_pixels(path, shape))

    return _in_parallel(one, pictures, "reading pictures")


def _in_parallel(function: Callable[[Picture], T], pictures: Sequence[Picture], what: str) -> Iterator[T]:
    """The function of each picture, in order; Pillow decodes and scales without Python's lock."""
    tasks = [pictures[start : start + AT_ONCE] for start in range(0, len(pictures), AT_ONCE)]
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(pictures), desc=what, unit=" pictures", disable=None) as bar,
    ):
        for start in range(0, len(tasks), AHEAD):
            for found in pool.map(lambda task: [function(picture) for picture in task], tasks[start : start + AHEAD]):
                bar.update(len(found))
                yield from found


def _guarded(root: Path, picture: Picture, read: Callable[[Path], T]) -> T | Damaged:
    try:
        return read(root / picture.path)
    except UnidentifiedImageError:
        return Damaged(picture.path, "no picture of a known format")
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError, Image.DecompressionBombError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
        return Damaged(picture.path, reason.removesuffix(f" {str(root / picture.path)!r}"))


def _head(path: Path) -> Head:
    with Image.open(path, formats=FORMATS) as picture:
        width, height = picture.size
        if picture.getexif().get(ORIENTATION, 1) >= 5:
            width, height = height, width
        return Head(height, width, _is_grey(picture))


def _is_grey(picture: Image.Image) -> bool:
    if picture.mode in ("P", "PA"):
        colours = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return picture.mode in (*GREY, *DEEP)


def _content_and_pixels(path: Path, shape: tuple[int, int, int]) -> tuple[bytes, np.ndarray]:
    content = path.read_bytes()
    channels, height, width = shape
    with Image.open(BytesIO(content), formats=FORMATS) as opened:
        mode = "L" if channels == 1 else "RGB"
        picture = _without_transparency(_in_eight_bits(ImageOps.exif_transpose(opened))).convert(mode)
    if picture.size != (width, height):
        picture = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(picture)
    return content, pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _in_eight_bits(picture: Image.Image) -> Image.Image:
    """A picture of more bits; Pillow itself would make everything above 255 white."""
    if picture.mode == "F":
        raise ValueError("its pixels are floats without a known range; save it with 8 or 16 bits")
    if picture.mode not in DEEP:
        return picture
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels are {values.min()} … {values.max()}, and at most 16 bits are read")
    # "I" is also what Pillow makes of some files of 8 bits
    return Image.fromarray((values if picture.mode == "I" and values.max() < 256 else values >> 8).astype(np.uint8))


def _without_transparency(picture: Image.Image) -> Image.Image:
    if picture.mode not in ("LA", "La", "PA", "RGBA", "RGBa") and "transparency" not in picture.info:
        return picture
    coloured = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", coloured.size, "white"), coloured)


def said(damaged: Sequence[Damaged], of: int, root: Path) -> str:
    """One line that names the damaged pictures."""
    named = ", ".join(f"{path} ({reason})" for path, reason in damaged[:SHOWN])
    more = f" and {len(damaged) - SHOWN:,} more" if len(damaged) > SHOWN else ""
    return f"{root}: {len(damaged):,} of {of:,} pictures cannot be read: {named}{more}"


def part_indices(pictures: Sequence[Picture]) -> dict[str, list[int]]:
    """Indices of the pictures of each part that is there."""
    found: dict[str, list[int]] = {}
    for index, picture in enumerate(pictures):
        found.setdefault(picture.part, []).append(index)
    return found
