"""MNIST as it was binarized once and for all by Larochelle, from its three text files."""

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from vae_lab.annotations import BatchSize, Seed
from vae_lab.data.base import ImageDataModule, Split
from vae_lab.errors import DataError, unusable
from vae_lab.paths import data_folder

SIZES = {  # number of images in each file
    "binarized_mnist_train.amat": 50_000,
    "binarized_mnist_valid.amat": 10_000,
    "binarized_mnist_test.amat": 10_000,
}
IMAGE_SHAPE = (1, 28, 28)
ZERO, ONE, LINE_END = b"01\n"
SPACES = b" \t\r\n"


class FixedBinarizedMNIST(ImageDataModule):
    """MNIST whose pixels were drawn once, with its own 10,000 images for validation, and without labels.

    Source: Larochelle and Murray, The neural autoregressive distribution estimator (2011),
    https://proceedings.mlr.press/v15/larochelle11a.html; the files are at
    http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/

    Args:
        name: name of the set.
        root: folder of the three text files; None is the folder that VAE_LAB_DATA names, or the user's cache.
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: static: the pixels of the files are 0 and 1.
        seed: seed of the training order.

    Raises:
        ConfigError: if the sizes do not fit the set.
        DataError: from ``prepare_data``, if a file is missing or damaged.
    """

    def __init__(
        self,
        name: Literal["fixed_binarized_mnist"] = "fixed_binarized_mnist",
        root: Annotated[str, Field(min_length=1)] | None = None,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Literal["static"] = "static",
        seed: Seed = 0,
    ) -> None:
        training, validation, _ = SIZES.values()
        self.name, self.image_shape, self.labels, self.train_size = name, IMAGE_SHAPE, None, training + validation
        self.folder = data_folder(root)
        super().__init__(batch_size, eval_batch_size, binarization, validation, seed=seed)

    def prepare_data(self) -> None:
        """Check the files."""
        self.read()

    def read(self) -> tuple[Split, Split]:
        """Training images followed by those for validation, and the test images, with zeros as labels."""
        return load_once(self.folder)


@lru_cache(maxsize=1)
def load_once(folder: Path) -> tuple[Split, Split]:
    """The images of the three files; the same tensors at each call: do not write to them.

    Args:
        folder: folder of the files.

    Raises:
        DataError: if one is missing or damaged.
    """
    missing = [name for name in SIZES if not (folder / name).is_file()]
    if missing:
        raise DataError(
            f"fixed_binarized_mnist is not fetched: {folder} lacks {', '.join(missing)}; put Larochelle's three text "
            "files there, or name their folder with data.root=FOLDER"
        )
    training, validation, test = (_read(folder / name, size) for name, size in SIZES.items())
    return _without_labels(torch.cat((training, validation))), _without_labels(test)


def _without_labels(images: Tensor) -> Split:
    return images, torch.zeros(len(images), dtype=torch.int64)


def _read(file: Path, size: int) -> Tensor:
    """The images of a file, uint8 (n, channels, height, width), each pixel 0 or 255.

    Args:
        file: text file with a line of numbers 0 or 1 for each image.
        size: number of images that it must hold.

    Raises:
        DataError: if it holds anything else.
    """
    try:
        content = np.append(np.fromfile(file, np.uint8), np.uint8(LINE_END))  # the last line may lack its end
    except OSError as error:
        raise DataError(unusable(error)) from error
    is_pixel = (content == ZERO) | (content == ONE)
    odd = ~(is_pixel | np.isin(content, list(SPACES)))
    odd[1:] |= is_pixel[1:] & is_pixel[:-1]  # two digits without a space are no pixel
    ends = np.flatnonzero(content == LINE_END)
    if odd.any():
        line = np.searchsorted(ends, odd.argmax()) + 1
        raise _damaged(file, f"line {line:,} holds something else than 0 and 1")
    counts = np.diff(np.cumsum(is_pixel, dtype=np.int64)[ends], prepend=0)
    wrong, pixels = (counts != 0) & (counts != np.prod(IMAGE_SHAPE)), np.prod(IMAGE_SHAPE)
    if wrong.any():
        raise _damaged(file, f"line {wrong.argmax() + 1:,} holds {counts[wrong.argmax()]:,} pixels, not {pixels:,}")
    if (found := np.count_nonzero(counts)) != size:
        raise _damaged(file, f"it holds {found:,} images, not {size:,}")
    bits = (content[is_pixel] - ZERO) * np.uint8(255)
    return torch.from_numpy(bits.reshape(size, *IMAGE_SHAPE))


def _damaged(file: Path, reason: str) -> DataError:
    return DataError(f"{file}: is damaged, {reason}; put Larochelle's file there")
