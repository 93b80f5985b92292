"""The learning curves of a sweep: for each setting the mean over seeds and its band, the criterion beside its terms."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_lab.figures.quantities import Quantity
from vae_lab.figures.sweep_axes import divergence_limit, end_above, new_figure, rank_colour

NAMED = 6  # curves that a legend can hold and a reader can tell apart
LONGEST = 90  # characters of a name in a legend
FEW = 12  # epochs that are marked one by one

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class LearningCurve:
    """A figure of one setting by epoch.

    Args:
        label: label of the setting.
        runs: for each seed the epochs, counted from 1, and the values after them.
    """

    label: str
    runs: Sequence[Points]
    common: list[float] = field(init=False)

    def __post_init__(self) -> None:
        """Find the epochs that every seed has: a mean over fewer seeds would jump."""
        shared = set.intersection(*({epoch for epoch, _ in run} for run in self.runs))
        object.__setattr__(self, "common", sorted(shared))

    @property
    def mean(self) -> list[float]:
        """Mean over the seeds at each epoch that all of them have."""
        return [statistics.mean(values) for values in self._values]

    @property
    def sd(self) -> list[float]:
        """Standard deviation over the seeds at these epochs; 0 where there is one seed."""
        return [statistics.stdev(values) if len(values) > 1 else 0.0 for values in self._values]

    @property
    def alone(self) -> list[Points]:
        """What each seed measured after the last epoch that all of them have, from that epoch on."""
        last = self.common[-1] if self.common else -np.inf
        return [points for run in self.runs if len(points := [point for point in run if point[0] >= last]) > 1]

    @property
    def _values(self) -> list[list[float]]:
        runs = [dict(run) for run in self.runs]
        return [[run[epoch] for run in runs] for epoch in self.common]


def learning_curves(panels: Mapping[Quantity, Sequence[LearningCurve]], columns: int = 3) -> Figure:
    """Means and bands of one standard deviation over seeds, by epoch, a panel for each quantity.

    A setting has one colour, by its rank, and the best few are named. A seed that ran longer than the others of its
    setting goes on as a thin line.

    Args:
        panels: for each quantity the curves of all settings, the best setting first.
        columns: largest number of panels side by side.
    """
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(6.4 if columns == 1 else 3.9 * columns, 0.6 + (4.0 if len(panels) == 1 else 3.3) * rows)
    every = list(figure.subplots(rows, columns, squeeze=False).flat)
    labels = list(dict.fromkeys(curve.label for curves in panels.values() for curve in curves))
    named: dict[str, Artist] = {}
    diverged = _diverged(next(iter(panels.values())))
    for axes, (quantity, curves) in zip(every, panels.items(), strict=False):
        for curve in reversed(curves):
            named[curve.label] = _draw(axes, curve, labels.index(curve.label), len(labels))
        _end(axes, curves, diverged)
        axes.set(xlabel="epoch", ylabel=quantity.unit)
        axes.set_title(quantity.name, fontsize=10)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    for axes in every[len(panels) :]:
        axes.remove()
    _name(figure, [named[label] for label in labels], labels, panels)
    return figure


def _draw(axes: Axes, curve: LearningCurve, rank: int, count: int) -> Artist:
    """One setting in a panel; returns its line."""
    colour, best = rank_colour(rank, count), rank == 0
    marker = "o" if max(len(run) for run in curve.runs) < FEW else None
    mean, sd = np.array(curve.mean), np.array(curve.sd)
    if sd.any():
        axes.fill_between(curve.common, mean - sd, mean + sd, color=colour, alpha=0.18, linewidth=0)
    for points in curve.alone:
        axes.plot(*zip(*points, strict=True), color=colour, linewidth=0.7, alpha=0.7)
    (line,) = axes.plot(
        curve.common, mean, color=colour, linewidth=2.2 if best else 1.3, marker=marker, markersize=3, zorder=3
    )
    return line


def _diverged(curves: Sequence[LearningCurve]) -> set[str]:
    """The labels of the settings that diverged, by the criterion: a large KL alone is none."""
    judged = [mean[at] for curve in curves if (mean := curve.mean) for at in (_settled(mean), -1)]
    limit = divergence_limit(judged)
    return {curve.label for curve in curves if curve.mean and curve.mean[-1] > limit}


def _settled(values: Sequence[object]) -> int:
    """The first epoch that counts: those before are alike in all runs, and far above the rest."""
    return len(values) // 10


def _end(axes: Axes, curves: Sequence[LearningCurve], diverged: Collection[str]) -> None:
    """End the vertical axis where the first epochs and diverged settings would flatten the rest."""
    bands = [list(zip(curve.mean, curve.sd, strict=True)) for curve in curves if curve.label not in diverged]
    inside = [mean + sd for band in bands for mean, sd in band[_settled(band) :]]
    if not inside:
        return
    ends = [end for curve in curves for m, s in zip(curve.mean, curve.sd, strict=True) for end in (m - s, m + s)]
    ends += [value for curve in curves for points in curve.alone for _, value in points]
    if max(ends) > max(inside):
        above = sum(len(curve.runs) for curve in curves if curve.mean and curve.mean[-1] > max(inside))
        end_above(axes, [min(ends), max(inside)], above)


def _name(figure: Figure, lines: Sequence[Artist], labels: Sequence[str], panels: Mapping[Quantity, object]) -> None:
    """The legend below the panels."""
    shown = [(line, label[:LONGEST]) for line, label in zip(lines, labels, strict=True)][:NAMED]
    if len(labels) > NAMED:
        shown.append((lines[-1], f"{len(labels) - NAMED} more, the worst lightest"))
    handles, texts = zip(*shown, strict=True)
    several = any(len(curve.runs) > 1 for curves in panels.values() for curve in curves)  # type: ignore[attr-defined]
    title = "mean and standard deviation over seeds, the best first" if several else None
    legend = figure.legend(
        handles, texts, frameon=False, fontsize=8, loc="outside lower left", title=title, title_fontsize=8
    )
    legend.set_alignment("left")
