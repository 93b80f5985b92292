"""Images as arrays in a file."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from vae_lab.annotations import BatchSize, Digest, Seed
from vae_lab.data import array_files as files
from vae_lab.data.array_files import Keys, Layout, Pair
from vae_lab.data.binarization import Binarization
from vae_lab.data.own_images import HeldOut, OwnImages, OwnSet, split_of
from vae_lab.errors import DataError
from vae_lab.paths import data_folder, expanded


class ArraysDataModule(OwnImages):
    """The images in a .npz, .npy or .pt file: uint8, bool or float in [0, 1].

    The arrays' names say what they are: ``images`` and ``labels``, ``x_train`` and ``y_test``, ``val_images`` and the
    like. What is missing of validation and test is drawn from the images for training.

    Args:
        file: the file. An .npz holds arrays by name, a .pt a tensor or a dict of tensors, an .npy one array.
        images_key: name of the array of images, where its name does not say it; all are split then.
        labels_key: name of the array of labels beside ``images_key``; None has no labels.
        layout: order of the images' dimensions, NHW, NHWC or NCHW; None finds out.
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: dynamic draws each pixel again for each batch, static draws it once, threshold cuts at ½,
            none keeps the levels.
        validation: number of training images that are held out, a share of them, or none; None is what the file says,
            or a tenth.
        test: number of images for the test, or a share; None is what the file says, or a tenth.
        split_seed: seed of the draw of images for validation and test.
        binarization_seed: seed of the draws that are made once.
        seed: seed of the training order.
        sha256: SHA-256 of the file, which it must have; None takes any. A run's config records it.

    Raises:
        ConfigError: if the names or dimensions leave open what the arrays are, or the sizes do not fit.
        DataError: if the file cannot be read, or its numbers are no images.
    """

    def __init__(
        self,
        file: Annotated[str, Field(min_length=1)],
        images_key: str | None = None,
        labels_key: str | None = None,
        layout: Layout | None = None,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "none",
        validation: HeldOut | Literal["none"] = None,
        test: HeldOut = None,
        split_seed: Seed = 14,
        binarization_seed: Seed = 0,
        seed: Seed = 0,
        sha256: Digest | None = None,
    ) -> None:
        self.file = Path(os.path.abspath(expanded(file)))  # noqa: PTH100  resolve() would follow the user's links
        self.name = self.file.stem
        modified = self.file.stat().st_mtime if self.file.exists() else 0.0
        own = _arranged(self.file, modified, Keys(images_key, labels_key, layout), validation, test, split_seed)
        self.folder = data_folder() / "arrays" / f"{own.sha256[:16]}-{'-'.join(map(str, own.sizes))}-{split_seed}"
        self._take(own, self.file, sha256, "data.file")
        super().__init__(
            batch_size,
            eval_batch_size,
            binarization,
            own.sizes[1] or "none",
            binarization_seed=binarization_seed,
            seed=seed,
        )

    def prepare_data(self) -> None:
        """Make the folder for what is made of the images."""
        self.folder.mkdir(parents=True, exist_ok=True)

    @property
    def recorded(self) -> dict[str, Any]:
        """The file, so that the run can be evaluated from anywhere, and its digest."""
        return super().recorded | {"file": str(self.file)}


@lru_cache(maxsize=1)
def _arranged(
    file: Path,
    modified: float,  # noqa: ARG001  a file that has changed is read again
    keys: Keys,
    validation: HeldOut | Literal["none"],
    test: HeldOut,
    seed: int,
) -> OwnSet:
    """The images of a file in the order training, validation, test; the same tensors at each call."""
    parts, digest = files.load(file, keys)
    shapes = {part: pair.images.shape[1:] for part, pair in parts.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(f"{file}: the images of {' and '.join(parts)} differ in shape, {shapes}")
    ends = np.cumsum([len(pair.images) for pair in parts.values()])
    indices = {part: range(end - len(parts[part].images), end) for part, end in zip(parts, ends, strict=True)}
    chosen = split_of(indices, validation, test, seed)
    order = torch.cat(chosen)
    labels, names = _labels(file, parts)
    images = torch.from_numpy(np.concatenate([pair.images for pair in parts.values()]))
    train, val, of_test = map(len, chosen)
    return OwnSet(images[order], labels[order], names, (train, val, of_test), digest)


def _labels(file: Path, parts: dict[str, Pair]) -> tuple[torch.Tensor, tuple[str, ...] | None]:
    """Labels of all images, and their names; zeros and None where some part has none."""
    for part, (images, labels) in parts.items():
        if labels is not None and len(labels) != len(images):
            raise DataError(f"{file}: {part} has {len(images):,} images and {len(labels):,} labels")
    if any(labels is None for _, labels in parts.values()):
        return torch.zeros(sum(len(images) for images, _ in parts.values()), dtype=torch.int64), None
    try:
        numbers, names = files.numbered({part: labels for part, (_, labels) in parts.items()})
    except ValueError as error:
        raise DataError(f"{file}: {error}") from error
    return torch.from_numpy(np.concatenate([numbers[part] for part in parts])).long(), names
