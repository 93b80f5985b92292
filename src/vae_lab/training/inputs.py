"""From batches to the images that the model takes; what is wrong with them is said of the stage that they came in."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae_lab.data import ImageDataModule
from vae_lab.errors import ImageError
from vae_lab.models import Model
from vae_lab.training.sums import PIXELS

Batch = Tensor | Sequence[Tensor]


class Inputs:
    """The batches of one call of a trainer. Only those that come first in their stage make the device wait.

    Args:
        model: model that takes the images.
        data: data module of the call; None where loaders are given.

    Raises:
        ImageError: if the data module's images have another shape than the model's.
    """

    def __init__(self, model: Model, data: Any = None) -> None:
        shape = getattr(data, "image_shape", None)
        if shape is not None and tuple(shape) != tuple(model.image_shape):
            raise ImageError(f"the images of the data are {tuple(shape)}, the model's {tuple(model.image_shape)}")
        self.model = model
        self.are_bytes = isinstance(data, ImageDataModule)
        self.looked_at: set[str] = set()

    def take(self, batch: Batch, stage: str) -> Tensor:
        """The images of a batch, with or without labels, as the model takes them.

        Args:
            batch: images, or images first and then labels and the like.
            stage: training, validation or test.

        Raises:
            ImageError: if the model cannot take them.
        """
        look = stage not in self.looked_at
        self.looked_at.add(stage)
        images: Any = batch[0] if isinstance(batch, Sequence) and batch else batch
        if not isinstance(images, Tensor):
            found = type(images).__name__
            raise ImageError(f"{stage} batches: expected images, or images and then labels, and found {found}")
        try:
            return self.model.admit(images, look=look)
        except ImageError as error:
            raise ImageError(f"{stage} images: {error}") from error

    def trace(self, x: Tensor) -> dict[str, Tensor]:
        """The sum of each image's pixels, (batch,), which says later whether all were finite; nothing for bytes."""
        return {} if self.are_bytes else {PIXELS: x.flatten(1).sum(1, dtype=torch.float32)}
