"""CIFAR, SVHN, EMNIST and other sets, by torchvision."""

from typing import Annotated, Literal

from pydantic import Field

from vae_lab.annotations import BatchSize, ImageCount, Seed
from vae_lab.data import torchvision_files as files
from vae_lab.data.base import ImageDataModule, Split
from vae_lab.data.binarization import Binarization
from vae_lab.data.torchvision_table import ELSEWHERE, SETS
from vae_lab.errors import ConfigError
from vae_lab.paths import data_folder


class TorchvisionDataModule(ImageDataModule):
    """One of torchvision's sets of images of one size, which are fetched where they are not there.

    Args:
        name: name of the set, that of torchvision's class: CIFAR10, CIFAR100, SVHN, EMNIST, QMNIST, USPS, STL10 or
            Omniglot.
        split: which part of the set, where it has several; None is the first. EMNIST: balanced, byclass, bymerge,
            letters, digits or mnist. SVHN, to train on: train, train+extra or extra. STL10, to train on: train,
            unlabeled or train+unlabeled, the latter two without labels. QMNIST, to test on: test, test10k or test50k.
        root: folder of the data files, as torchvision arranges them; None is the folder that VAE_LAB_DATA names, or the
            user's cache.
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: dynamic draws each pixel again for each batch, static draws it once, threshold cuts at ½,
            none keeps the levels.
        validation: number of training images that are held out, or none.
        validation_choice: which images are held out, the last ones or random ones.
        split_seed: seed of the random choice.
        binarization_seed: seed of the draws that are made once.
        seed: seed of the training order.

    Raises:
        ConfigError: for a set that is not offered, or sizes that do not fit it.
        DataError: from ``prepare_data``, if a file is damaged, or is missing and cannot be fetched.
    """

    def __init__(
        self,
        name: str = "CIFAR10",
        split: str | None = None,
        root: Annotated[str, Field(min_length=1)] | None = None,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "none",
        validation: ImageCount | Literal["none"] = 5000,
        validation_choice: Literal["last", "random"] = "last",
        split_seed: Seed = 14,
        binarization_seed: Seed = 0,
        seed: Seed = 0,
    ) -> None:
        self.name, self.split = name, _split_of(name, split)
        part = SETS[name].parts[self.split]
        self.image_shape, self.labels, self.train_size = SETS[name].shape, part.labels, part.train_size
        self.root = data_folder(root)
        self.folder = self.root / name / (self.split if len(SETS[name].parts) > 1 else "")
        super().__init__(
            batch_size,
            eval_batch_size,
            binarization,
            validation,
            validation_choice,
            split_seed,
            binarization_seed,
            seed,
        )

    def prepare_data(self) -> None:
        """Fetch the files that are missing, once for each machine."""
        self.read()

    def read(self) -> tuple[Split, Split]:
        """The images of torchvision's class, upright, and their labels from 0."""
        return files.load_once(self.name, self.split, self.root)


def _split_of(name: str, split: str | None) -> str:
    """The choice of ``data.split`` of a set that is offered."""
    if name in ELSEWHERE:
        raise ConfigError("data.name", name, f"has a choice of its own; use data={ELSEWHERE[name]}")
    if name not in SETS:
        reason = f"of torchvision's sets there are {', '.join(SETS)}; for pictures in a folder use data=images"
        raise ConfigError("data.name", name, reason)
    parts = SETS[name].parts
    if split is None:
        return next(iter(parts))
    if len(parts) == 1:
        raise ConfigError("data.split", split, f"{name} has no parts to choose from; leave it out")
    if split not in parts:
        raise ConfigError("data.split", split, f"of {name} there are {', '.join(parts)}")
    return split
