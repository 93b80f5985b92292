"""Figures of a sweep: plain numbers in, a matplotlib figure out. The best is what is lowest."""

import statistics
from collections.abc import Mapping, Sequence
from itertools import pairwise

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from vae_lab.figures.quantities import Quantity
from vae_lab.figures.sweep_axes import (
    Axis,
    Measured,
    Value,
    ceiling_of,
    divergence_limit,
    end_above,
    new_figure,
    rank_colour,
)

AWAY = 0.08  # inches between markers of one place
TICKS = 10  # levels of one axis that can be named


def heat_map(x: Axis, y: Axis, measured: Sequence[Measured], quantity: Quantity) -> Figure:
    """A table over two swept keys with a cell for each setting, the best one framed; what did not finish stays empty.

    Args:
        x: key along the columns.
        y: key along the rows, its first level at the bottom.
        measured: value of the quantity in each setting.
        quantity: measured quantity, with its unit.
    """
    means, texts = np.full((len(y.levels), len(x.levels)), np.nan), {}
    for column, row, value in zip(x.values, y.values, measured, strict=True):
        at = y.levels.index(row), x.levels.index(column)
        if not value.mean >= means[at]:  # several where other keys change as well: the best
            means[at], texts[at] = value.mean, str(value)
    width = max(len(text) for text in texts.values()) * 0.09 + 0.25
    figure = new_figure(2.2 + max(0.75, width) * len(x.levels), max(3.0, 1.3 + 0.55 * len(y.levels)))
    axes = figure.subplots()
    ceiling = ceiling_of([value.mean for value in measured])
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="0.93")
    scale = Normalize(np.nanmin(means), ceiling)
    image = axes.imshow(means, cmap=colours, norm=scale, aspect="auto", origin="lower")
    for (row, column), text in texts.items():
        dark = scale(min(means[row, column], ceiling)) < 0.6
        axes.text(column, row, text, ha="center", va="center", fontsize=9, color="white" if dark else "black")
    best = np.unravel_index(np.nanargmin(means), means.shape)
    axes.add_patch(
        matplotlib.patches.Rectangle(
            (best[1] - 0.48, best[0] - 0.46), 0.96, 0.92, fill=False, edgecolor="crimson", linewidth=2
        )
    )
    axes.set_xticks(range(len(x.levels)), x.labels)
    axes.set_yticks(range(len(y.levels)), y.labels)
    axes.set(xlabel=x.name, ylabel=y.name)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    extend = "max" if np.nanmax(means) > ceiling else "neither"
    figure.colorbar(image, label=quantity.label, extend=extend)
    return figure


def line(
    axis: Axis, measured: Mapping[str, Sequence[Measured]], runs: Sequence[tuple[Value, float]], quantity: Quantity
) -> Figure:
    """Means over one swept key, with error bars of one standard deviation over seeds.

    Args:
        axis: axis of the swept key.
        measured: for each name in the legend, the values of all settings.
        runs: value of the key and of the first name in each run, drawn as points.
        quantity: measured quantity, with its unit.
    """
    figure = new_figure(5.4 if axis.is_numeric else max(5.4, 1.6 + 0.16 * sum(map(len, axis.labels))), 3.8)
    axes = figure.subplots()
    order = np.argsort(axis.places(axis.values), kind="stable")
    places = axis.places(axis.values)[order]
    for index, (name, values) in enumerate(measured.items()):
        means, sds = (np.array([value[i] or 0.0 for value in values])[order] for i in (0, 1))
        joined = "-" if axis.is_numeric else "none"
        spread = sds if sds.any() else None
        # side by side, where they would cover each other; what is moved aside does not count towards the limits
        aside = axes.transData + ScaledTranslation(AWAY * index, 0, figure.dpi_scale_trans)
        axes.errorbar(
            places, means, yerr=spread, linestyle=joined, marker="os"[index % 2], capsize=4, label=name, transform=aside
        )
        axes.update_datalim(np.column_stack((np.tile(places, 2), np.concatenate((means - sds, means + sds)))))
    if len(runs) > len(axis.values):
        places = axis.places([value for value, _ in runs])
        points = [point for _, point in runs]
        aside = axes.transData + ScaledTranslation(-AWAY, 0, figure.dpi_scale_trans)
        axes.plot(places, points, ".", color="C0", alpha=0.6, label="each run", transform=aside)
        axes.update_datalim(np.column_stack((places, points)))
    axes.autoscale_view()
    _along(axes, axis)
    _cut_diverged(axes, [value for values in measured.values() for value in values], [point for _, point in runs])
    axes.set(xlabel=axis.name, ylabel=quantity.label)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def seeds(measured: Mapping[str, Sequence[tuple[str, float]]], quantity: Quantity) -> Figure:
    """Values by seed, with their mean and a band of one standard deviation.

    Args:
        measured: for each name in the legend, the seeds and values of the same runs.
        quantity: measured quantity, with its unit.
    """
    figure = new_figure(7.0, 3.2)
    axes = figure.subplots()
    for index, (name, points) in enumerate(measured.items()):
        values = [value for _, value in points]
        colour, mean = f"C{index}", statistics.mean(values)
        axes.scatter(range(len(values)), values, color=colour, marker="os"[index % 2], label=name)
        axes.axhline(mean, color=colour, linewidth=1)
        if len(values) > 1:
            sd = statistics.stdev(values)
            axes.axhspan(mean - sd, mean + sd, color=colour, alpha=0.12, linewidth=0)
        axes.set_xticks(range(len(values)), [seed for seed, _ in points])
    axes.set(xlabel="seed", ylabel=quantity.label)
    axes.legend(frameon=False, ncols=2)
    axes.margins(y=0.2)
    return figure


def parallel(keys: Sequence[Axis], measured: Sequence[Measured], quantity: Quantity) -> Figure:
    """A line for each setting through the values of its keys to its measured value, coloured by rank; the best is bold.

    Args:
        keys: axes of the swept keys.
        measured: value of the quantity in each setting.
        quantity: measured quantity, with its unit.
    """
    figure = new_figure(2.2 * (len(keys) + 1) + 0.8, 4.4)
    axes = figure.subplots()
    means = [value.mean for value in measured]
    low, ceiling = min(means), ceiling_of(means)
    ends = np.clip((np.array(means) - low) / ((ceiling - low) or 1.0), 0, 1)
    rank = np.argsort(np.argsort(means, kind="stable"))
    # lines of one level are side by side, in the order of their ranks
    apart = (rank / max(1, len(means) - 1) - 0.5) * 0.05
    heights = np.stack([*(axis.fractions(axis.values) + apart for axis in keys), ends], axis=1)
    for index in np.argsort(-rank):
        x, y = _smooth(heights[index])
        best = rank[index] == 0
        axes.plot(x, y, color=rank_colour(rank[index], len(means)), linewidth=3.0 if best else 1.2, alpha=0.9)
    for place, axis in enumerate(keys):
        axes.axvline(place, color="0.4", linewidth=0.8, zorder=0)
        named = sorted({round(i) for i in np.linspace(0, len(axis.levels) - 1, min(TICKS, len(axis.levels)))})
        for index in named:
            _label(axes, place, axis.fractions(axis.levels)[index], axis.labels[index])
    place = len(keys)
    axes.axvline(place, color="black", linewidth=1, zorder=0)
    for height in np.linspace(0, 1, 5):
        above = "≥ " if height == 1 and max(means) > ceiling else ""
        _label(axes, place, height, f"{above}{low + height * (ceiling - low):.1f}", ha="left")
    names = [*(axis.name for axis in keys), f"{quantity.name}\n{quantity.unit}".strip()]
    axes.set_xticks(range(len(names)), names)
    axes.set_yticks([])
    axes.set(xlim=(-0.35, place + 0.35), ylim=(-0.06, 1.06))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def _along(axes: Axes, axis: Axis) -> None:
    """Scale the horizontal axis for a key, and name its levels where they are few."""
    if axis.is_logarithmic:
        axes.set_xscale("log")
    if not axis.is_numeric:
        axes.margins(x=0.15)
    if not axis.is_numeric or len(axis.levels) <= TICKS:
        places = axis.places(axis.levels).tolist()
        names = dict(zip(places, axis.labels, strict=True))
        axes.xaxis.set_major_locator(FixedLocator(places))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda place, _: names.get(place, "")))


def _cut_diverged(axes: Axes, measured: Sequence[Measured], runs: Sequence[float]) -> None:
    """End the vertical axis above every run and error bar where diverged runs lie far above these."""
    points = runs or [value.mean for value in measured]
    limit = divergence_limit(points)
    inside = [end for value in measured if value.mean <= limit for end in value.ends]
    if above := sum(point > limit for point in points):
        end_above(axes, [*inside, *(point for point in points if point <= limit)], above)


def _smooth(heights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A line that crosses each axis horizontally, so that lines can be followed through it."""
    t = np.linspace(0, 1, 25)
    eased = t * t * (3 - 2 * t)
    x = np.concatenate([place + t for place in range(len(heights) - 1)])
    y = np.concatenate([a + (b - a) * eased for a, b in pairwise(heights)])
    return x, y


def _label(axes: Axes, x: float, y: float, text: str, ha: str = "right") -> None:
    box = {"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 1}
    shift = (-5, 0) if ha == "right" else (5, 0)
    axes.annotate(text, (x, y), shift, textcoords="offset points", ha=ha, va="center", fontsize=8, bbox=box, zorder=5)
