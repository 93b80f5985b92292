"""Figures of images: reconstructions, samples, completions, sizes, and the images of the data."""

import math
from typing import Literal

import torch
from lightning import Trainer
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.annotations import Cells, Epochs
from vae_lab.data import ImageDataModule
from vae_lab.figures import images
from vae_lab.models import Model
from vae_lab.training.figures.base import FigureCallback


class Reconstructions(FigureCallback):
    """Test images above their reconstructions, with −log p(x|z) below each: one of each label first.

    Where the images have no labels they are the first ones.

    Args:
        n: number of images.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "reconstructions"

    def __init__(self, n: Cells = 20, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n = n

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """n test images."""
        order = torch.arange(len(data.test_labels)) if data.labels is None else one_of_each_first(data.test_labels)
        originals = data.test_images[order[: self.n]]
        codes = model.encode(originals)
        errors = -model.images_given(codes).log_prob(model.cast(originals))
        return images.reconstructions(originals, model.decode(codes), errors, model.images_are)


def one_of_each_first(labels: Tensor) -> Tensor:
    """An order of images, (n,): the first one of each label by label, then the second ones, and so on.

    Args:
        labels: label of each image, (n,), int64.

    >>> one_of_each_first(torch.tensor([2, 0, 2, 1, 0]))
    tensor([1, 3, 0, 4, 2])
    """
    labels = labels.cpu()
    occurrence = torch.zeros_like(labels)
    for label in labels.unique():
        chosen = labels == label
        occurrence[chosen] = torch.arange(int(chosen.sum()))
    return (occurrence * (int(labels.max()) + 1) + labels).argsort(stable=True)


class PriorSamples(FigureCallback):
    """Images decoded from draws of the prior.

    Args:
        rows: rows of images in the picture.
        columns: columns of images in the picture.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
        at_improvements: draw also at each epoch whose criterion, measured in validation, is the best so far.
        images: ``means`` of p(x|z), or ``draws`` from it. Where a decoder has no mean, they are draws anyway.
    """

    name = "samples"

    def __init__(
        self,
        rows: Cells = 10,
        columns: Cells = 20,
        every_n_epochs: Epochs = 0,
        at_improvements: bool = False,
        images: Literal["means", "draws"] = "means",
    ) -> None:
        super().__init__(every_n_epochs)
        self.rows, self.columns, self.at_improvements, self.images = rows, columns, at_improvements, images

    def is_due(self, trainer: Trainer, model: Model) -> bool:
        """Every N epochs, and at improvements if ``at_improvements`` is set."""
        name = f"val/{model.criterion}"
        value = trainer.callback_metrics.get(name)
        best = min((row[name] for row in model.history if name in row), default=math.inf)
        improved = self.at_improvements and value is not None and value.item() < best
        return improved or super().is_due(trainer, model)

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """A rows × columns picture of samples."""
        n = self.rows * self.columns
        if self.images == "means" or model.images_are == "draws":
            return images.samples(model.sample(n), self.columns, model.images_are)
        return images.samples(model.images_given(model.draw_codes(n)).sample(), self.columns, "draws")


class LadderSamples(FigureCallback):
    """Samples of a ladder whose upper k layers are held at one draw, a row for each k.

    Args:
        columns: number of samples in each row.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "ladder_samples"
    says_left_out = False

    def __init__(self, columns: Cells = 12, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.columns = columns

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """From rows that have nothing in common to a row of one image."""
        return images.layers(model.samples_with_fixed(self.columns))


class Completions(FigureCallback):
    """Test images whose lower half is drawn given the upper half, by models that draw images in order.

    Args:
        n: number of test images.
        draws: number of completions of each.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "completions"
    says_left_out = False

    def __init__(self, n: Cells = 10, draws: Cells = 5, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n, self.draws = n, draws

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The first n test images, what is kept of them, and the completions."""
        originals = data.test_images[: self.n]
        rows = originals.shape[-2] // 2
        rows -= rows % model.rows_at_once
        drawn = model.complete(originals.repeat(self.draws, 1, 1, 1), rows)
        return images.completions(originals, drawn.unflatten(0, (self.draws, -1)), rows)


class Resolutions(FigureCallback):
    """Codes of test images decoded at the size of training, at twice and at four times that size.

    Args:
        n: number of test images.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "resolutions"
    says_left_out = False

    def __init__(self, n: Cells = 10, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n = n

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The first n test images at three sizes."""
        codes, (height, width) = model.encode(data.test_images[: self.n]), model.image_shape[1:]
        sizes = [(height * times, width * times) for times in (1, 2, 4)]
        return images.resolutions([model.decode(codes, size) for size in sizes], model.images_are)


class RealImages(FigureCallback):
    """Test images as the model sees them, to compare samples with.

    Args:
        rows: rows of images in the picture.
        columns: columns of images in the picture.
    """

    name = "real_images"

    def __init__(self, rows: Cells = 4, columns: Cells = 4) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """The first rows × columns test images."""
        return images.image_grid(data.test_images[: self.rows * self.columns], self.columns, "test images")
