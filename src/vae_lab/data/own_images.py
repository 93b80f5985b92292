"""Images of a person's own: their files say the shape, the labels and the number."""

from abc import ABC
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from vae_lab.annotations import ImageCount
from vae_lab.data.base import ImageDataModule, Split
from vae_lab.errors import ConfigError, DataError

Share = Annotated[float, Field(gt=0, lt=1)]
HeldOut = ImageCount | Share | None  # a number of images, a share of them, or what the files say
NAMES_OF_PARTS = {  # what people call them, in a folder or in the name of an array
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
SHARE = 0.1  # of the images, for validation and for the test, where neither the files nor the config say


class OwnSet(NamedTuple):
    """What a person's files hold."""

    images: Tensor
    """Images (n, channels, height, width) in uint8, those of training before those of validation before the test's."""
    labels: Tensor
    """Label of each image, (n,) in int64, zeros where there are none."""
    names: tuple[str, ...] | None
    """Name of each label; None where there are none."""
    sizes: tuple[int, int, int]
    """Number of images for training, validation and test."""
    sha256: str
    """Digest of the files' content."""


class OwnImages(ImageDataModule, ABC):
    """Base of the data modules whose files are a person's own.

    A subclass reads its files into an ``OwnSet``, hands it to ``_take``, and then calls the constructor of
    ``ImageDataModule``.
    """

    shape_needs_files: ClassVar[bool] = True

    def _take(self, own: OwnSet, place: Path, expected: str | None, place_key: str) -> None:
        """Set what the base class asks for.

        Args:
            own: what the files hold.
            place: the files' folder, or the file.
            expected: digest that a run's config has recorded; None takes any.
            place_key: key of the config that names the place.

        Raises:
            DataError: if the files are others than those that were recorded.
        """
        if expected not in (None, own.sha256):
            raise DataError(
                f"{place}: its content is not what data.sha256 names ({str(expected)[:12]}…, this is "
                f"{own.sha256[:12]}…); put that back, or name where it is: {place_key}=PLACE"
            )
        self.own, self.sha256 = own, own.sha256
        channels, height, width = own.images.shape[1:]
        self.image_shape, self.labels = (channels, height, width), own.names
        self.train_size = own.sizes[0] + own.sizes[1]

    @property
    def recorded(self) -> dict[str, Any]:
        """The digest of the files."""
        return {"sha256": self.sha256}

    def read(self) -> tuple[Split, Split]:
        """The images for training followed by those for validation, and the test images."""
        sizes = [self.train_size, self.own.sizes[2]]
        (images, test_images), (labels, test_labels) = self.own.images.split(sizes), self.own.labels.split(sizes)
        return (images, labels), (test_images, test_labels)


def split_of(
    parts: Mapping[str, Sequence[int]], validation: HeldOut | Literal["none"], test: HeldOut, seed: int
) -> list[Tensor]:
    """Which images are for training, validation and test.

    Args:
        parts: indices of the images of each part that the files tell apart, ``train``, ``val`` and ``test``; what is
            not there is drawn from ``train``.
        validation: number of images for validation, or their share of ``train``; None is a tenth.
        test: the same for the test.
        seed: seed of the draw.

    Returns:
        indices for training, validation and test, each ascending.

    Raises:
        ConfigError: if a number is given for a part that the files hold, or leaves no image for another.
    """
    drawn = torch.as_tensor(parts["train"])[
        torch.randperm(len(parts["train"]), generator=torch.Generator().manual_seed(seed))
    ]
    held_out, total = {}, len(drawn)
    for name, key, wanted in (("test", "data.test", test), ("val", "data.validation", validation)):
        if name in parts:
            if wanted is not None:
                raise ConfigError(key, wanted, f"the files have {len(parts[name]):,} images for this; leave it out")
            held_out[name] = torch.as_tensor(parts[name])
            continue
        n = _number(wanted, total)
        if n >= len(drawn) or (name == "test" and not n):
            reason = f"must leave images to train on, and there are {len(drawn):,}"
            raise ConfigError(key, SHARE if wanted is None else wanted, reason)
        held_out[name], drawn = drawn[:n], drawn[n:]
    return [chosen.sort().values for chosen in (drawn, held_out["val"], held_out["test"])]


def _number(wanted: HeldOut | Literal["none"], total: int) -> int:
    if wanted == "none":
        return 0
    if wanted is None or isinstance(wanted, float):
        return max(1, round((wanted or SHARE) * total))
    return int(wanted)
