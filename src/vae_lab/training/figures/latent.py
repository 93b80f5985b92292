"""Figures of the latent space: a decoded plane, codes as points, one dimension after the other."""

import math

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.annotations import Cells, Epochs, ImageCount, Positive, Size, Steps
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, NotOffered
from vae_lab.evaluation.aggregate import evenly
from vae_lab.evaluation.dimensions import activity_of_dimensions, kl_of_dimensions
from vae_lab.figures import images, latent
from vae_lab.models import Model
from vae_lab.training.figures.base import FigureCallback


class LatentGrid(FigureCallback):
    """An n × n grid of decoded codes over the plane of the latent space.

    With two latent dimensions the plane is the space itself; with more it is spanned by the two leading
    principal axes of the test images' codes, through their centre, in standard deviations. Without an encoder there are
    no such codes, and only two dimensions are drawn. In the space itself a coordinate is multiplied by the prior's
    spread, so that the grid covers a learned prior too.

    Args:
        n: number of codes along each axis.
        reach: largest coordinate along both axes, in standard deviations; under a standard normal prior the grid spans
            [−reach, reach]².
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
        spacing: ``linear``, or ``quantiles`` of the standard normal, which are closer where its draws are.
    """

    name = "latent_grid"

    def __init__(
        self, n: Cells = 12, reach: Positive = 2.0, every_n_epochs: Epochs = 0, spacing: latent.Spacing = "linear"
    ) -> None:
        super().__init__(every_n_epochs)
        self.n, self.reach, self.spacing = n, reach, spacing

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The decoded grid."""
        try:
            codes = model.encode(data.test_images)
        except NotOffered:
            codes = model.draw_codes(1000)
            if codes.shape[1] != 2:  # there are no axes of the images' codes
                raise
        plane, line = latent.latent_plane(codes), latent.line_of(self.n, self.reach, self.spacing)
        if codes.shape[1] <= 2:
            line *= spread_of_prior(model)
        return latent.grid(model.decode(plane.square(line)), line, plane.names, model.images_are)


class LatentScatter(FigureCallback):
    """Codes of the test images in the plane of the latent space, coloured by label where they have labels.

    Args:
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "latent_scatter"

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """Every test image as a point."""
        codes = model.encode(data.test_images)
        plane = latent.latent_plane(codes)
        labels = None if data.labels is None else data.test_labels
        return latent.scatter(plane.coordinates(codes), plane.names, labels, data.labels or ())


class Traversals(FigureCallback):
    """The images of one code in which one dimension goes from −reach to reach times the prior's spread, a row for each.

    The dimensions with the largest KL come first. Where the KL has no part for each dimension (a prior or posterior
    over dimensions that depend on each other) they are those whose codes vary most over the test images.

    Args:
        n: number of dimensions, at most all.
        steps: number of values of each.
        reach: largest value, in standard deviations: in units of z under a standard normal prior.
        image: index of the test image whose code it is.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "traversals"

    def __init__(
        self, n: Cells = 10, steps: Steps = 11, reach: Positive = 3.0, image: ImageCount = 0, every_n_epochs: Epochs = 0
    ) -> None:
        super().__init__(every_n_epochs)
        self.n, self.steps, self.reach, self.image = n, steps, reach, image

    def check(self, model: Model, data: ImageDataModule) -> None:  # noqa: ARG002
        """Refuse an image that there is not."""
        if self.image >= len(data.test_labels):
            reason = f"there is no such test image; the last one is {len(data.test_labels) - 1}"
            raise ConfigError("callbacks.traversals.image", self.image, reason)

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """A row for each of the most active dimensions."""
        x = data.test_images[self.image]
        chosen = evenly(data.test_images, IMAGES)
        activity, short, measure = activity_of_dimensions(model, chosen)
        order = activity.argsort(descending=True)[: self.n].tolist()
        names = [f"{latent.name_of_dimension(i)}   {short} {activity[i]:.2f}" for i in order]
        reach = self.reach * spread_of_prior(model)
        rows = torch.stack([model.traverse(x, dim, reach, self.steps) for dim in order])
        title = f"one latent dimension of test image {self.image} changed ({model.images_are}); {measure}"
        return images.traversals(rows, names, reach, title)


class KLByDimension(FigureCallback):
    """The KL of each latent dimension in nats as bars, the largest first: a mean over test images.

    Args:
        images: largest number of test images, evenly spread over all.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "kl_by_dimension"

    def __init__(self, images: Size = 2000, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.images = images

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """A bar for each dimension."""
        chosen = evenly(data.test_images, self.images)
        kls = kl_of_dimensions(model, chosen)
        return latent.kl_of_dimensions(kls, _names_of(kls), len(chosen))


IMAGES = 2000  # that the dimensions of traversals are chosen by
DRAWS = 2000  # of the prior, that its spread is measured by


def spread_of_prior(model: Model) -> float:
    """Root mean square of the prior's draws along a dimension, to one digit, so that it is 1 for a standard normal.

    Args:
        model: model with codes; where its draws are not finite the spread is 1.
    """
    spread = float(f"{model.draw_codes(DRAWS).square().mean().sqrt():.1g}")
    return spread if 0 < spread < math.inf else 1.0


def _names_of(kls: list[Tensor]) -> list[str]:
    """The names of latent variables, the topmost first."""
    return [latent.name_of_dimension(layer) for layer in reversed(range(len(kls)))]
