"""The latent space in the plane: decoded codes on a grid, and the codes of images as points."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
import torch
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.figures.images import size_of_each, tile
from vae_lab.figures.style import new_figure, show

DISTINCT = 10  # colours of matplotlib's default cycle
ROWS = 20  # of a legend
NAMED = 2 * ROWS  # labels that a legend can hold


class Plane(NamedTuple):
    """A plane through the codes: a code is centre + coordinates @ axes."""

    centre: Tensor
    """A point of the plane, (latent,)."""
    axes: Tensor
    """Two orthogonal directions, (2, latent)."""
    names: tuple[str, str]
    """Names of the horizontal and the vertical axis."""

    def square(self, n: int, reach: float) -> Tensor:
        """Codes on a square grid, (n, n, latent); the first row has the largest vertical coordinate.

        Args:
            n: number of codes along each axis.
            reach: largest coordinate along both axes; the grid spans [−reach, reach]².
        """
        line = torch.linspace(-reach, reach, n, device=self.axes.device, dtype=self.axes.dtype)
        vertical, horizontal = torch.meshgrid(line.flip(0), line, indexing="ij")
        return self.centre + torch.stack((horizontal, vertical), -1) @ self.axes

    def coordinates(self, codes: Tensor) -> Tensor:
        """Coordinates (n, 2) of codes (n, latent), projected onto the plane."""
        # one axis may be zero
        squares = self.axes.square().sum(1).clamp_min(torch.finfo(self.axes.dtype).tiny)
        return (codes - self.centre) @ self.axes.T / squares


def latent_plane(codes: Tensor) -> Plane:
    """The plane in which codes are shown: the latent space itself in two dimensions, else its main plane.

    Above two dimensions an axis is a principal axis whose length is the codes' standard deviation along it. In one
    dimension the second axis is zero.

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
    _, lengths, axes = torch.linalg.svd(codes - centre, full_matrices=False)
    axes = axes[:2] * (lengths[:2, None] / len(codes) ** 0.5)
    # an axis and its negative are one axis; the choice must not depend on the library
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    unit = "principal axis / standard deviations"
    return Plane(centre, axes, (f"first {unit}", f"second {unit}"))


def grid(images: Tensor, reach: float, axis_names: tuple[str, str], images_are: str = "means") -> Figure:
    """Images decoded from a square grid of codes.

    Args:
        images: decoded images, (n, n, channels, height, width); the first row has the largest vertical coordinate.
        reach: largest coordinate along both axes; the grid spans [−reach, reach]².
        axis_names: names of the horizontal and the vertical coordinate.
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    n = len(images)
    width, height = size_of_each(images, 0.42)
    figure = new_figure(max(4.5, width * n + 1.1), max(4.5, height * n + 1.1))
    axes = figure.subplots()
    edge = reach * n / max(1, n - 1)  # the outermost codes are in the middle of the outermost images
    picture = tile(images, gap=1)
    show(axes, picture, (-edge, edge, -edge, edge), aspect=picture.shape[0] / picture.shape[1])
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    figure.suptitle(f"decoded codes over [−{reach:g}, {reach:g}]² ({images_are})", fontsize=10)
    return figure


def scatter(points: Tensor, axis_names: tuple[str, str], labels: Tensor | None, names: Sequence[str] = ()) -> Figure:
    """Codes of images as points, coloured by label; the legend is left out where there are no labels, or too many.

    Args:
        points: coordinates in the plane, (n, 2).
        axis_names: names of the horizontal and the vertical coordinate.
        labels: label of each point, (n,), int64; None where the images have none.
        names: name of each label.
    """
    points = points.float().cpu()
    labels = None if labels is None else labels.cpu()
    shown = [] if labels is None else labels.unique().tolist()
    has_legend = 0 < len(shown) <= NAMED
    columns = -(-len(shown) // ROWS)
    longest = max(len(names[label]) for label in shown) if has_legend else 1
    figure = new_figure(6.2 + 0.08 * (longest - 1) * columns, 5.2)
    axes = figure.subplots()
    for label in shown or [0]:
        chosen = (points if labels is None else points[labels == label]).numpy()
        colour, name = _colour(label, len(names)), names[label] if has_legend else None
        axes.scatter(chosen[:, 0], chosen[:, 1], s=4, alpha=0.6, linewidths=0, color=colour, label=name)
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    figure.suptitle(f"posterior means of {len(points):,} test images", fontsize=10)
    if has_legend:
        legend = axes.legend(
            title="label", markerscale=4, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, ncols=columns
        )
        for handle in legend.legend_handles:
            if handle is not None:
                handle.set_alpha(1)
    return figure


def _colour(label: int, count: int) -> str | tuple[float, float, float, float]:
    return f"C{label}" if count <= DISTINCT else matplotlib.colormaps["turbo"](label / (count - 1))
