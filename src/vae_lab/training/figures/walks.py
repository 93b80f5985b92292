"""Walks from code to code, and which test images they join."""

import logging
from collections.abc import Sequence
from itertools import cycle, islice
from typing import Annotated, Literal

from matplotlib.figure import Figure
from pydantic import Field
from torch import Tensor

from vae_lab.annotations import Cells, Epochs, ImageCount, Steps
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, NotOffered
from vae_lab.figures import images
from vae_lab.models import Model
from vae_lab.training.figures.base import FigureCallback

log = logging.getLogger(__name__)

Pair = tuple[int, int]
Pairs = Annotated[list[tuple[ImageCount, ImageCount]], Field(min_length=1, max_length=200)]
LabelPairs = Annotated[list[tuple[int | str, int | str]], Field(min_length=1, max_length=200)]
KEY = "callbacks.interpolation"
PAIRS = 5  # unless a config says more


class Interpolation(FigureCallback):
    """Walks between the codes of test images, of different labels where they have labels, or between prior draws.

    The test images stand at both ends, with their index. No two walks join the same images while there are others.

    Args:
        pairs: number of walks, where neither labels nor images are named.
        steps: number of images of each walk, α = 0 and 1 included.
        between: what the walks connect, codes of test images or draws of the prior, as always without an encoder.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
        labels: the labels that each walk joins, by name or number: [[3, 8], [4, 9]]; None chooses.
        images: the test images that each walk joins, by their index from 0: [[18, 84]]; None chooses.

    Raises:
        ConfigError: if settings exclude each other.
    """

    name = "interpolation"

    def __init__(
        self,
        pairs: Cells = PAIRS,
        steps: Steps = 11,
        between: Literal["test_images", "prior_draws"] = "test_images",
        every_n_epochs: Epochs = 0,
        labels: LabelPairs | None = None,
        images: Pairs | None = None,
    ) -> None:
        super().__init__(every_n_epochs)
        self.pairs, self.steps, self.between, self.labels, self.images = pairs, steps, between, labels, images
        if labels and images:
            raise ConfigError(f"{KEY}.images", images, "labels are named too; give labels or images, not both")
        if self._named and between == "prior_draws":
            reason = f"draws of the prior are no images; use test_images, or leave {self._named[0]} out"
            raise ConfigError(f"{KEY}.between", between, reason)
        if self._named and pairs not in (PAIRS, len(self._named[1])):
            raise ConfigError(f"{KEY}.pairs", pairs, f"{self._named[0]} names the walks; leave one of them out")

    @property
    def _named(self) -> tuple[str, Sequence[tuple[int | str, int | str]]] | None:
        """The setting that names the ends of the walks, and its value."""
        named: dict[str, Sequence[tuple[int | str, int | str]] | None] = {"labels": self.labels, "images": self.images}
        return next(((name, value) for name, value in named.items() if value), None)

    def check(self, model: Model, data: ImageDataModule) -> None:
        """Refuse labels and images that there are not, and any where the model has no codes of images."""
        if self._named is None:
            return
        self._ends(data)
        try:
            model.encode(data.test_images[:1])
        except NotOffered as error:
            raise ConfigError(f"{KEY}.{self._named[0]}", self._named[1], f"{error}; leave it out") from error

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """A row for each walk."""
        if self.between == "test_images":
            ends = self._ends(data)
            starts, stops = data.test_images[[start for start, _ in ends]], data.test_images[[stop for _, stop in ends]]
            try:
                walks = model.interpolate(starts, stops, self.steps)
                names = [(_name_of(start, data), _name_of(stop, data)) for start, stop in ends]
                return images.interpolation(walks, model.images_are, (starts, stops), names)
            except NotOffered as reason:
                if self._named:
                    raise
                log.debug("%s: %s", self.name, reason)
        z1, z2 = model.draw_codes(2 * self.pairs).chunk(2)
        return images.interpolation(model.walk(z1, z2, self.steps), model.images_are)

    def _ends(self, data: ImageDataModule) -> list[Pair]:
        """The indices of the first and the last test image of each walk."""
        labels = data.test_labels.cpu()
        if self.images:
            return self._existing(self.images, len(labels))
        if self.labels:
            found = [(self._number_of(a, data, labels), self._number_of(b, data, labels)) for a, b in self.labels]
            return images_of_labels(found, labels)
        kinds = labels.unique().tolist()
        if data.labels is None or len(kinds) < 2:
            return [(2 * i % len(labels), (2 * i + 1) % len(labels)) for i in range(self.pairs)]
        return images_of_labels([(kinds[a], kinds[b]) for a, b in different(len(kinds), self.pairs)], labels)

    def _existing(self, pairs: Sequence[Pair], count: int) -> list[Pair]:
        """The pairs, if each names an image that there is."""
        odd = next((index for pair in pairs for index in pair if index >= count), None)
        if odd is not None:
            reason = f"there is no test image {odd}; the last one is {count - 1}"
            raise ConfigError(f"{KEY}.images", [list(pair) for pair in pairs], reason)
        return [(start, stop) for start, stop in pairs]

    def _number_of(self, label: int | str, data: ImageDataModule, labels: Tensor) -> int:
        """The number of a label of some test image, by its name, or by the number itself."""
        assert self.labels is not None
        names = data.labels or ()
        number = names.index(str(label)) if str(label) in names else label
        kinds = labels.unique().tolist() if names else []
        if number not in kinds:
            there = ", ".join(names[kind] for kind in kinds[:20]) + (", …" if len(kinds) > 20 else "")
            reason = f"no test image has the label {label}; there are {there}" if kinds else "the images have no labels"
            raise ConfigError(f"{KEY}.labels", [list(pair) for pair in self.labels], reason)
        return int(number)


def different(kinds: int, n: int) -> list[Pair]:
    """n pairs of different kinds; none comes twice before all have come.

    Args:
        kinds: number of kinds, at least 2.
        n: number of pairs.

    >>> different(4, 6)
    [(0, 1), (2, 3), (1, 2), (3, 0), (0, 2), (2, 0)]
    """
    starts = [*range(0, kinds, 2), *range(1, kinds, 2)]
    pairs = [(start, (start + step) % kinds) for step in range(1, kinds) for start in starts]
    return list(islice(cycle(pairs), n))


def images_of_labels(pairs: Sequence[Pair], labels: Tensor) -> list[Pair]:
    """An image for each end of each pair of labels: the images of a label one after the other.

    Args:
        pairs: labels of the ends.
        labels: label of each image, (n,), on the CPU.

    >>> import torch
    >>> images_of_labels([(0, 1), (0, 1)], torch.tensor([1, 0, 0]))
    [(1, 0), (2, 0)]
    """
    wanted = {label for pair in pairs for label in pair}
    of = {label: cycle((labels == label).nonzero().flatten().tolist()) for label in wanted}
    return [(next(of[start]), next(of[stop])) for start, stop in pairs]


def _name_of(index: int, data: ImageDataModule) -> str:
    """The label of a test image, where it has one, and its index."""
    label = "" if data.labels is None else f"{data.labels[int(data.test_labels[index])]}\n"
    return f"{label}#{index}"
