"""A set of images as a LightningDataModule: split, binarized, moved to the device, cut into batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from torch import Tensor

from vae_lab.annotations import BatchSize, ImageCount, Seed
from vae_lab.data.batches import Batches
from vae_lab.data.binarization import Binarization, draw, freeze, scale
from vae_lab.errors import ConfigError

Split = tuple[Tensor, Tensor]


class Images(NamedTuple):
    """Images (n, channels, height, width) in uint8 and their labels (n,) in int64, zeros where there are none."""

    images: Tensor
    labels: Tensor


class ImageDataModule(LightningDataModule):
    """Images to train on, to validate with and to test on; a subclass says which, and reads them.

    The whole set is one uint8 tensor on the training device and batches are slices of it. The training order
    depends on ``seed`` and the epoch alone. Pixels that are not drawn again for each batch are drawn once, from
    ``binarization_seed``: validation and test always, training where ``binarization=static``.

    A subclass sets the five attributes below, before it calls this constructor, and defines ``read``.

    Args:
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: dynamic draws each pixel again for each batch, static draws it once, threshold cuts at ½,
            none keeps the grey levels.
        validation: number of training images that are held out, or none.
        validation_choice: which images are held out, the last ones or random ones.
        split_seed: seed of the random choice.
        binarization_seed: seed of the draws that are made once.
        seed: seed of the training order.

    Raises:
        ConfigError: if the sizes do not fit the set.
    """

    shape_needs_files: ClassVar[bool] = False
    """Whether only the files say the images' shape; a model is then loaded by the shape that its run has recorded."""
    name: str
    """Name of the set."""
    image_shape: tuple[int, int, int]
    """Channels, height and width of each image."""
    labels: tuple[str, ...] | None
    """Name of each label; None where the images have no labels."""
    train_size: int
    """Number of images for training and validation together."""
    folder: Path
    """Folder of the set's files, and of what is made from them."""

    def __init__(
        self,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "dynamic",
        validation: ImageCount | Literal["none"] = 5000,
        validation_choice: Literal["last", "random"] = "last",
        split_seed: Seed = 14,
        binarization_seed: Seed = 0,
        seed: Seed = 0,
    ) -> None:
        super().__init__()
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.binarization: Binarization = binarization
        self.validation = 0 if validation == "none" else validation
        self.validation_choice = validation_choice
        self.split_seed, self.binarization_seed, self.seed = split_seed, binarization_seed, seed
        if self.validation >= self.train_size:
            raise ConfigError("data.validation", validation, f"must be at most {self.train_size - 1}")
        training = self.train_size - self.validation
        if batch_size > training:
            reason = f"must be at most {training}, the number of training images"
            raise ConfigError("data.batch_size", batch_size, reason)

    @property
    def recorded(self) -> dict[str, Any]:
        """Constructor arguments that the files told, by name: the run's config takes them."""
        return {}

    def read(self) -> tuple[Split, Split]:
        """The images as they are, for training and validation, and for the test.

        Returns:
            two pairs of images (n, channels, height, width) in uint8 and labels (n,) in int64 on the CPU; the
            labels are zeros where there are none. They may be shared: do not write to them.
        """
        raise NotImplementedError

    def setup(self, stage: str | None = None) -> None:
        """Read the files, split, draw what is drawn once, move all to the device."""
        if hasattr(self, "test"):
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        (images, labels), (test_images, test_labels) = self.read()
        if self.validation_choice == "random":
            order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.split_seed))
            images, labels = images[order], labels[order]
        sizes = [len(images) - self.validation, self.validation]
        (train_images, val_images), (train_labels, val_labels) = images.split(sizes), labels.split(sizes)
        if self.binarization != "dynamic":
            train_images = self._freeze(train_images, 1)
        self.train = Images(train_images.to(device), train_labels.to(device))
        self.val = Images(self._freeze(val_images, 2).to(device), val_labels.to(device))
        self.test = Images(self._freeze(test_images, 3).to(device), test_labels.to(device))

    @property
    def megabytes(self) -> float:
        """Memory that the set takes on the device, once for each process."""
        return sum(tensor.nbytes for part in (self.train, self.val, self.test) for tensor in part) / 1e6

    def train_dataloader(self) -> Batches:
        """Shuffled batches, drawn as ``binarization`` says."""
        to_pixels = draw if self.binarization == "dynamic" else scale
        return Batches(*self.train, self.batch_size, to_pixels, self._order, self._part)

    def training_in_order(self) -> Batches:
        """The training images in their own order, drawn as ``binarization`` says."""
        return Batches(*self.train, self.eval_batch_size, draw if self.binarization == "dynamic" else scale)

    def val_dataloader(self) -> Batches | list[Batches]:
        """The held-out images in order, the same bits each time."""
        return Batches(*self.val, self.eval_batch_size, scale, part=self._part) if self.validation else []

    def test_dataloader(self) -> Batches:
        """The test images in order, the same bits each time."""
        return Batches(*self.test, self.eval_batch_size, scale, part=self._part)

    def bit_draws(self, n: int) -> Iterator[Batches]:
        """The test images in order with further draws of their bits: n − 1 beside the one of the test.

        Args:
            n: number of draws, that of the test included. The others are the test images of runs whose
                ``binarization_seed`` is 1, …, n − 1 larger.

        Raises:
            ConfigError: if the pixels are not drawn from grey levels.
        """
        pixels = self.read()[1][0].to(self.test.images.device)
        if self.binarization not in ("dynamic", "static") or not ((pixels > 0) & (pixels < 255)).any():
            raise ConfigError("evaluation.bit_draws", n, "no bits are drawn for these test images; leave it out")
        drawn = (self._freeze(pixels, 3, further) for further in range(1, n))
        return (Batches(bits, self.test.labels, self.eval_batch_size, scale, part=self._part) for bits in drawn)

    @property
    def test_images(self) -> Tensor:
        """The test images as the model sees them, (n, channels, height, width) in [0, 1]."""
        return scale(self.test.images)

    @property
    def test_labels(self) -> Tensor:
        """The test labels, (n,)."""
        return self.test.labels

    def mean_image(self) -> Tensor:
        """Average training image, (channels, height, width) in [0, 1]."""
        # exact: 1,000 bytes add up to less than 2²⁴, and sums of floats take a thirtieth of the time
        total = sum(part.float().sum(0).long() for part in self.train.images.split(1000))
        return total / (255 * len(self.train.images))

    @property
    def _part(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _freeze(self, images: Tensor, part: int, further: int = 0) -> Tensor:
        return freeze(images, self.binarization, seed=10 * (self.binarization_seed + further) + part)

    def _order(self) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + epoch)
        return torch.randperm(len(self.train.images), generator=generator)
