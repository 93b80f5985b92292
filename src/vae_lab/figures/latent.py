"""The latent space in the plane: decoded codes on a grid, the codes of images as points, the KL of its dimensions."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import matplotlib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vae_lab.figures.images import SUBSCRIPTS, size_of_each, tile
from vae_lab.figures.style import COLOURS, ONE_COLUMN, TWO_COLUMNS, new_figure, outline, show, styled

ROWS = 20  # of a legend
NAMED = 2 * ROWS  # labels that a legend can hold
TICKS = 8  # steps between coordinates that are named along a grid, at most
BARS, FEW = 40, 10  # dimensions whose names fit below bars, and whose bars are always shown
ACTIVE = 0.01  # nats: a dimension with less says nothing of the image

Spacing = Literal["linear", "quantiles"]


class Plane(NamedTuple):
    """A plane through the codes: a code is centre + coordinates @ axes."""

    centre: Tensor
    """A point of the plane, (latent,)."""
    axes: Tensor
    """Two orthogonal directions, (2, latent)."""
    names: tuple[str, str]
    """Names of the horizontal and the vertical axis."""

    def square(self, line: Tensor) -> Tensor:
        """Codes on a square grid, (n, n, latent); the first row has the largest vertical coordinate.

        Args:
            line: coordinates along both axes, ascending, (n,).
        """
        line = line.to(self.axes)
        vertical, horizontal = torch.meshgrid(line.flip(0), line, indexing="ij")
        return self.centre + torch.stack((horizontal, vertical), -1) @ self.axes

    def coordinates(self, codes: Tensor) -> Tensor:
        """Coordinates (n, 2) of codes (n, latent), projected onto the plane."""
        # one axis may be zero
        squares = self.axes.square().sum(1).clamp_min(torch.finfo(self.axes.dtype).tiny)
        return (codes - self.centre) @ self.axes.T / squares


def latent_plane(codes: Tensor) -> Plane:
    """The plane in which codes are shown: the latent space itself in two dimensions, else its main plane.

    Above two dimensions an axis is a principal axis whose length is the codes' standard deviation along it, and its
    name says how much of the codes' variance is along it. In one dimension the second axis is zero.

    Args:
        codes: codes of images, (n, latent).

    >>> centre, axes, names = latent_plane(torch.randn(100, 2))
    >>> axes.tolist(), names
    ([[1.0, 0.0], [0.0, 1.0]], ('z₁', 'z₂'))
    """
    latent = codes.shape[1]
    if latent <= 2:
        return Plane(codes.new_zeros(latent), torch.eye(2, latent).to(codes), ("z₁", "z₂"))
    centre = codes.mean(0)
    if len(codes) == 1:
        codes = codes.expand(2, -1)  # its axes have length 0
    _, lengths, axes = torch.linalg.svd(codes - centre, full_matrices=False)
    axes = axes[:2] * (lengths[:2, None] / len(codes) ** 0.5)
    # an axis and its negative are one axis; the choice must not depend on the library
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    shares = lengths.square() / lengths.square().sum().clamp_min(torch.finfo(codes.dtype).tiny)
    first, second = (
        f"{which} principal axis / SD ({share:.0%} of variance)"
        for which, share in zip(("first", "second"), shares.tolist(), strict=False)
    )
    return Plane(centre, axes, (first, second))


def line_of(n: int, reach: float, spacing: Spacing = "linear") -> Tensor:
    """n coordinates from −reach to reach, (n,): at even distances, or so that a normal draw falls between each two
    neighbours with the same probability, z_i = Φ⁻¹(p_i).

    Args:
        n: number of coordinates.
        reach: largest coordinate.
        spacing: ``linear``, or ``quantiles`` of the standard normal.

    >>> line_of(3, 2.0).tolist(), line_of(1, 2.0).tolist()
    ([-2.0, 0.0, 2.0], [0.0])
    """
    if n == 1:
        return torch.zeros(1)
    if spacing == "linear":
        return torch.linspace(-reach, reach, n)
    end = torch.special.ndtr(torch.tensor(reach, dtype=torch.float64)).item()
    return torch.special.ndtri(torch.linspace(1 - end, end, n, dtype=torch.float64)).float()


@styled()
def grid(images: Tensor, line: Tensor, axis_names: tuple[str, str], images_are: str = "means") -> Figure:
    """Images decoded from a square grid of codes.

    Args:
        images: decoded images, (n, n, channels, height, width); the first row has the largest vertical coordinate.
        line: coordinates along both axes, ascending, (n,).
        axis_names: names of the horizontal and the vertical coordinate.
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    n = len(images)
    width, height = size_of_each(images, min(0.55, (TWO_COLUMNS - 0.5) / n))
    figure = new_figure(max(ONE_COLUMN, width * n + 0.5), max(ONE_COLUMN, height * n + 0.7))
    axes = figure.subplots()
    picture = tile(images, line=0)
    # a unit for each image, whose middle is at 0, 1, …
    show(axes, picture, (-0.5, n - 0.5, -0.5, n - 0.5), aspect=picture.shape[0] / picture.shape[1])
    reach = line[-1].item()
    values = [value for value in MaxNLocator(TICKS).tick_values(-reach, reach) if abs(value) <= 1.001 * reach]
    places, names = np.interp(values, line.numpy(), np.arange(n)), [f"{value:g}".replace("-", "−") for value in values]
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    figure.suptitle(f"decoded codes over [−{line[-1]:g}, {line[-1]:g}]² ({images_are})")
    return figure


@styled()
def scatter(points: Tensor, axis_names: tuple[str, str], labels: Tensor | None, names: Sequence[str] = ()) -> Figure:
    """Codes of images as points in random order, coloured by label, with each label's name in the middle of its points.

    Args:
        points: coordinates in the plane, (n, 2).
        axis_names: names of the horizontal and the vertical coordinate.
        labels: label of each point, (n,), int64; None where the images have none. The legend and the names in the plane
            are left out then, and where there are too many to read.
        names: name of each label.
    """
    # a label that is drawn last would cover the others
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(0))
    points = points.float().cpu()[order]
    labels = torch.zeros(len(points), dtype=torch.long) if labels is None else labels.cpu()[order]
    shown = labels.unique().tolist() if len(names) else []
    figure = new_figure(TWO_COLUMNS * 0.75, TWO_COLUMNS * 0.6)
    axes = figure.subplots()
    colours = [colour_of(label, len(names)) for label in labels.tolist()]
    x, y = points.T.numpy()
    axes.scatter(x, y, s=3, linewidths=0, c=colours, rasterized=True)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    figure.suptitle(f"codes of {len(points):,} test images")
    if 0 < len(shown) <= NAMED:
        _name_labels(axes, points, labels, names)
    return figure


def _name_labels(axes: Axes, points: Tensor, labels: Tensor, names: Sequence[str]) -> None:
    """A legend, and the name of each label at the median of its points."""
    shown = labels.unique().tolist()
    for label in shown:
        colour, (x, y) = colour_of(label, len(names)), points[labels == label].median(0).values.tolist()
        axes.plot([], [], "o", markersize=4, color=colour, label=names[label])
        outline(axes.text(x, y, names[label], ha="center", va="center", fontsize=9, fontweight="bold"))
    columns = -(-len(shown) // ROWS)
    axes.legend(title="label", loc="center left", bbox_to_anchor=(1, 0.5), ncols=columns, handletextpad=0.1)


@styled()
def kl_of_dimensions(kls: Sequence[Tensor], names: Sequence[str], images: int) -> Figure:
    """The KL of the dimensions as bars, the largest ones, coloured by latent variable.

    All of the active dimensions are shown, and at least ten, but no more than 40.

    Args:
        kls: mean KL of the dimensions of each latent variable in nats, (latent,) each.
        names: name of each latent variable.
        images: number of images that the means are over.
    """
    values = torch.cat(list(kls))
    active = int((values > ACTIVE).sum())
    order = values.argsort(descending=True)[: min(BARS, max(active, FEW))]
    part_of = torch.cat([torch.full((len(part),), i) for i, part in enumerate(kls)])
    place_in = torch.cat([torch.arange(1, len(part) + 1) for part in kls])
    figure = new_figure(ONE_COLUMN if len(order) <= BARS / 2 else TWO_COLUMNS, 2.4)
    axes = figure.subplots()
    for part, name in enumerate(names):
        places = (part_of[order] == part).nonzero().flatten()
        if len(places):
            heights, colour = values[order][places].tolist(), COLOURS[part % len(COLOURS)]
            axes.bar(places.tolist(), heights, color=colour, label=name)
    of_one = [name_of_dimension(i) for i in order.tolist()]  # of several variables each counts its own
    ticks = of_one if len(kls) == 1 else [str(place) for place in place_in[order].tolist()]
    axes.set_xticks(range(len(order)), ticks)
    cut = f", the {len(order)} with the largest KL" if len(values) > len(order) else ""
    axes.set(xlabel=f"latent dimension{cut}", ylabel="KL / nats")
    if len(names) > 1:
        axes.legend(title="latent variable", ncols=2)
    whole = f"KL {values.sum():.2f} nats, {images:,} test images"
    axes.set_title(f"{whole}\n{active} of {len(values)} dimensions above {ACTIVE} nats")
    return figure


def name_of_dimension(dimension: int) -> str:
    """The name of a latent dimension, counted from 0: z₁, z₂, …

    >>> name_of_dimension(11)
    'z₁₂'
    """
    return f"z{dimension + 1}".translate(SUBSCRIPTS)


def colour_of(label: int, count: int) -> str | tuple[float, float, float, float]:
    """The colour of a label.

    Args:
        label: number of the label, from 0.
        count: number of labels that there are.
    """
    if count <= len(COLOURS):
        return COLOURS[label]
    return matplotlib.colormaps["viridis"](label / (count - 1))  # neighbours look alike: their names tell them apart
