"""Arrays of images in a file: which array is what, in which order its dimensions are, and what its numbers mean."""

import hashlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch

from vae_lab.data.own_images import NAMES_OF_PARTS
from vae_lab.errors import ConfigError, DataError, reason_of, unusable

log = logging.getLogger(__name__)

Layout = Literal["NHW", "NHWC", "NCHW"]
Arrays = dict[str, np.ndarray]
KINDS = (".npz", ".npy", ".pt", ".pth")
OF_LABELS = {"y", "label", "labels", "target", "targets", "class", "classes"}
OF_IMAGES = {"x", "image", "images", "img", "imgs", "data", "inputs", "pixels", "pictures"}
FAR = 1e-3  # from a level 0 … 255: floats that are further away are rounded, and the log says so


class Pair(NamedTuple):
    """The images and the labels of one part."""

    images: np.ndarray
    """As the file has them; at last in uint8, (n, channels, height, width)."""
    labels: np.ndarray | None
    """As the file has them; None where it has none."""


class Keys(NamedTuple):
    """What a config says of the arrays in a file."""

    images: str | None
    labels: str | None
    layout: Layout | None


def load(file: Path, keys: Keys) -> tuple[dict[str, Pair], str]:
    """The parts of a file, and its SHA-256.

    Args:
        file: .npz, .npy or .pt.
        keys: what the config says of it.

    Returns:
        for each part that there is, ``train``, ``val`` and ``test``, its images in uint8 (n, channels, height, width)
        and its labels or None.

    Raises:
        ConfigError: if the arrays' names or dimensions leave open what they are.
        DataError: if the file cannot be read, or its numbers are no images.
    """
    arrays = _read(file)
    parts = _pairs(arrays, file, keys)
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        part: pair._replace(images=as_levels(_ordered(pair.images, file, keys.layout), file))
        for part, pair in parts.items()
    }, digest


def _read(file: Path) -> Arrays:
    """The arrays of a file by name; nothing in it is executed."""
    if not file.is_file():
        raise DataError(f"data.file={file}: there is no such file")
    kind = file.suffix.lower()
    if kind not in KINDS:
        raise DataError(
            f"data.file={file}: must be one of {', '.join(KINDS)}; for pictures use data=images data.root=FOLDER"
        )
    try:
        if kind in (".pt", ".pth"):
            return _of_tensors(torch.load(file, map_location="cpu", weights_only=True))
        found = np.load(file, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": found}
        with found:
            return {name: found[name] for name in found.files}
    except OSError as error:
        raise DataError(unusable(error)) from error
    except Exception as error:  # of numpy, zipfile or pickle, in whatever form
        raise DataError(f"{file}: cannot be read ({reason_of(error)}); save plain arrays into it again") from error


def _of_tensors(found: Any) -> Arrays:
    if isinstance(found, torch.Tensor):
        return {"": found.numpy()}
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ValueError("it must hold a tensor, or a dict of tensors")
    return {str(name): value.numpy() for name, value in found.items()}


def _pairs(arrays: Arrays, file: Path, keys: Keys) -> dict[str, Pair]:
    """Images and labels of each part, by the names that the config gives or that say what they are."""
    if keys.images is None and keys.labels is not None:
        raise ConfigError("data.labels_key", keys.labels, "needs data.images_key beside it")
    for key, name in (("data.images_key", keys.images), ("data.labels_key", keys.labels)):
        if name is not None and name not in arrays:
            raise ConfigError(key, name, f"{file} holds {_listed(arrays)}")
    if keys.images is not None:
        return {"train": Pair(arrays[keys.images], None if keys.labels is None else arrays[keys.labels])}
    images, labels = _guessed(arrays, file)
    if "train" not in images:
        raise DataError(f"{file}: has no images to train on among {_listed(arrays)}; name them with data.images_key=…")
    for part, name in images.items():
        with_labels = f", labels: {labels[part]}" if part in labels else ", no labels"
        log.info("%s: %s images: %s%s", file, part, _described(name, arrays[name]), with_labels)
    return {part: Pair(arrays[name], arrays[labels[part]] if part in labels else None) for part, name in images.items()}


def _guessed(arrays: Arrays, file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Names of the images and of the labels of each part."""
    images: dict[str, str] = {}
    labels: dict[str, str] = {}
    for name, array in arrays.items():
        words = set(re.findall(r"[a-z]+", name.lower()))
        part = next((part for word, part in NAMES_OF_PARTS.items() if word in words), "train")
        is_labels = bool(words & OF_LABELS) or (array.ndim == 1 and not words & OF_IMAGES)
        if not is_labels and array.ndim < 3 and len(arrays) > 1 and not words & OF_IMAGES:
            continue  # something else
        found = labels if is_labels else images
        if part in found:
            kind = "labels" if is_labels else "images"
            raise ConfigError(
                "data.images_key",
                None,
                f"{file} holds {_listed(arrays)}, and {found[part]} and {name} may both be {kind}; name them",
            )
        found[part] = name
    return images, labels


def _listed(arrays: Arrays) -> str:
    return ", ".join(_described(name, array) for name, array in arrays.items()) or "nothing"


def _described(name: str, array: np.ndarray) -> str:
    return f"{name or 'an array'} ({' × '.join(map(str, array.shape))}, {array.dtype})"


def _ordered(images: np.ndarray, file: Path, layout: Layout | None) -> np.ndarray:
    """Images as (n, channels, height, width)."""
    shape = images.shape
    fitting = [name for name in ("NHW", "NHWC", "NCHW") if len(name) == len(shape)]
    fitting = [name for name in fitting if "C" not in name or shape[name.index("C")] in (1, 3)]
    if layout is not None:
        if len(layout) != len(shape) or ("C" in layout and shape[layout.index("C")] not in (1, 3)):
            raise ConfigError("data.layout", layout, f"the images in {file} are {' × '.join(map(str, shape))}")
        fitting = [layout]
    if not fitting:
        wanted = "images × height × width, and 1 or 3 channels last or after the images"
        raise DataError(f"{file}: the images are {' × '.join(map(str, shape))}, and must be {wanted}")
    if len(fitting) > 1:
        reason = f"the images in {file} are {' × '.join(map(str, shape))}; say which dimension is that of channels"
        raise ConfigError("data.layout", None, f"{reason}: data.layout=NHWC or NCHW")
    if not all(shape):
        raise DataError(f"{file}: there are no images in it ({' × '.join(map(str, shape))})")
    if fitting == ["NHW"]:
        return images[:, None]
    return images.transpose(0, 3, 1, 2) if fitting == ["NHWC"] else images


def as_levels(images: np.ndarray, file: Path) -> np.ndarray:
    """Images as levels 0 … 255: uint8 as they are, bool as 0 and 255, floats in [0, 1] times 255.

    Args:
        images: images of any shape.
        file: their file, for messages.

    Raises:
        DataError: for other types, or values outside; it says which were found.
    """
    if images.dtype == bool:
        return images.astype(np.uint8) * np.uint8(255)
    lowest, highest = images.min(), images.max()
    found = f"{file}: the images are {images.dtype} from {lowest} to {highest}"
    if images.dtype == np.uint8:
        if highest <= 1:
            raise DataError(f"{found}, which of 256 levels is black; save bits as bool")
        return np.ascontiguousarray(images)
    if not np.issubdtype(images.dtype, np.floating):
        raise DataError(f"{found}, and must be uint8, bool or float in [0, 1]; save them as one of these")
    if not (lowest >= 0 and highest <= 1):  # also where one is not a number
        raise DataError(f"{found}, and floats must be in [0, 1]; scale them, or save levels 0 … 255 as uint8")
    levels = np.empty(images.shape, np.uint8)
    furthest = 0.0
    for start in range(0, len(images), 1000):  # so that a large array is not in memory three times
        part = images[start : start + 1000] * np.float32(255)
        levels[start : start + 1000] = rounded = np.rint(part)
        furthest = max(furthest, float(np.abs(part - rounded).max()))
    if furthest > FAR:
        log.info("%s: the values were rounded to 256 levels, by up to %.4f", file, furthest / 255)
    return levels


def numbered(labels: Mapping[str, Any]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Labels as numbers from 0, and the name of each, ascending.

    Args:
        labels: labels of each part, numbers or texts, (n,) or (n, 1).
    """
    flat = {part: np.asarray(values).reshape(len(values), -1) for part, values in labels.items()}
    if any(values.shape[1] != 1 for values in flat.values()):
        raise ValueError("has several labels for each image; name one with data.labels_key, or leave them out")
    names = np.unique(np.concatenate([values[:, 0] for values in flat.values()]))
    if np.issubdtype(names.dtype, np.floating) and not np.array_equal(names, np.rint(names)):
        raise ValueError("has labels that are no whole numbers")
    shown = names.astype(np.int64) if np.issubdtype(names.dtype, np.number) else names
    return {part: np.searchsorted(names, values[:, 0]) for part, values in flat.items()}, tuple(map(str, shown))
