"""MNIST and the sets of the same form, as a LightningDataModule."""

from typing import Annotated, Literal, NamedTuple

import torch
from lightning import LightningDataModule
from pydantic import Field
from torch import Tensor

from vae_lab.data import mnist_files as files
from vae_lab.data.batches import Batches
from vae_lab.data.binarization import Binarization, draw, freeze, scale
from vae_lab.errors import ConfigError

Count = Annotated[int, Field(ge=0, lt=2**32)]
BatchSize = Annotated[int, Field(ge=1, le=1_000_000)]


class Images(NamedTuple):
    """Images (n, 1, 28, 28) in uint8 and their labels (n,)."""

    images: Tensor
    labels: Tensor


class MNISTDataModule(LightningDataModule):
    """60,000 images to train on and to hold validation images out of, 10,000 to test on.

    The whole set is one uint8 tensor on the training device and batches are slices of it. Training order
    follows from ``seed`` and the epoch alone. What is not drawn anew for each batch is drawn once, from
    ``binarization_seed``: validation and test always, training where ``binarization=static``.

    Args:
        name: which set.
        root: folder of the data files; None is the user's cache, or what VAE_LAB_DATA names.
        batch_size: images a training step, of all processes together.
        eval_batch_size: images a validation or test step.
        binarization: dynamic draws each pixel anew each time, static once and for all, threshold cuts at ½,
            none keeps the grey levels.
        validation: how many training images are held out, or none.
        validation_choice: the last ones, or random ones.
        split_seed: of the random choice.
        binarization_seed: of the draws that are made once.
        seed: of the training order.

    Raises:
        ConfigError: if the sizes do not fit the set.
        DataError: from ``prepare_data``, if the files are not there and cannot be fetched.
    """

    def __init__(
        self,
        name: files.SetName = "mnist",
        root: str | None = None,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "dynamic",
        validation: Count | Literal["none"] = 5000,
        validation_choice: Literal["last", "random"] = "last",
        split_seed: Count = 14,
        binarization_seed: Count = 0,
        seed: Count = 0,
    ) -> None:
        super().__init__()
        self.name: files.SetName = name
        self.root = root
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.binarization: Binarization = binarization
        self.validation = 0 if validation == "none" else validation
        self.validation_choice = validation_choice
        self.split_seed, self.binarization_seed, self.seed = split_seed, binarization_seed, seed
        if self.validation >= files.TRAIN_IMAGES:
            raise ConfigError("data.validation", validation, f"must be at most {files.TRAIN_IMAGES - 1}")
        training = files.TRAIN_IMAGES - self.validation
        if batch_size > training:
            reason = f"must be at most {training}, the number of training images"
            raise ConfigError("data.batch_size", batch_size, reason)

    def prepare_data(self) -> None:
        """Fetch the files that are missing or damaged, once a machine."""
        files.load_once(self.name, self.root)

    def setup(self, stage: str | None = None) -> None:  # noqa: ARG002
        """Read the files, split, draw what is drawn once, move all to the device."""
        if hasattr(self, "test"):
            return
        device = self.trainer.strategy.root_device if self.trainer else torch.device("cpu")
        (images, labels), (test_images, test_labels) = files.load_once(self.name, self.root)
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

    def train_dataloader(self) -> Batches:
        """Shuffled batches, drawn as ``binarization`` says."""
        to_pixels = draw if self.binarization == "dynamic" else scale
        return Batches(*self.train, self.batch_size, to_pixels, self._order, self._part)

    def training_in_order(self) -> Batches:
        """The training images as they lie, drawn as ``binarization`` says."""
        return Batches(*self.train, self.eval_batch_size, draw if self.binarization == "dynamic" else scale)

    def val_dataloader(self) -> Batches | list[Batches]:
        """The held-out images in order, the same bits each time."""
        return Batches(*self.val, self.eval_batch_size, scale, part=self._part) if self.validation else []

    def test_dataloader(self) -> Batches:
        """The test images in order, the same bits each time."""
        return Batches(*self.test, self.eval_batch_size, scale, part=self._part)

    @property
    def test_images(self) -> Tensor:
        """The test images as the model sees them, (10000, 1, 28, 28) in [0, 1]."""
        return scale(self.test.images)

    @property
    def test_labels(self) -> Tensor:
        """The test labels, (10000,)."""
        return self.test.labels

    def mean_image(self) -> Tensor:
        """Average training image, (1, 28, 28), in [0, 1]."""
        # exact: 60,000 bytes add up to less than 2²⁴, and sums of floats take a thirtieth of the time
        total = sum(part.float().sum(0) for part in self.train.images.split(1000))
        return total / (255 * len(self.train.images))

    @property
    def _part(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)

    def _freeze(self, images: Tensor, part: int) -> Tensor:
        return freeze(images, self.binarization, seed=10 * self.binarization_seed + part)

    def _order(self) -> Tensor:
        epoch = self.trainer.current_epoch if self.trainer else 0
        generator = torch.Generator().manual_seed(1_000_003 * self.seed + epoch)
        return torch.randperm(len(self.train.images), generator=generator)
