"""The axes of a sweep's figures: swept keys, figures with their spread over seeds, ends, colours of ranks."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Value = float | str

DPI = 160
# the part of the colour map that is dark enough for a thin line on white: a contrast of 3 to 1
WORST_COLOUR = 0.62


class Measured(NamedTuple):
    """A figure of one setting.

    Args:
        mean: mean over the seeds.
        sd: standard deviation over the seeds; None where there is one seed.
    """

    mean: float
    sd: float | None = None

    @property
    def ends(self) -> tuple[float, float]:
        """Mean minus and plus the standard deviation."""
        return self.mean - (self.sd or 0.0), self.mean + (self.sd or 0.0)

    def __str__(self) -> str:
        return f"{self.mean:.2f}" if self.sd is None else f"{self.mean:.2f} ± {self.sd:.2f}"


@dataclass(frozen=True)
class Axis:
    """A swept key.

    Args:
        name: name of the key.
        values: value of the key in each setting; numbers, or text where they are not all numbers.
        levels: the distinct values of the key, in order.
    """

    name: str
    values: Sequence[Value]
    levels: Sequence[Value]

    @property
    def is_numeric(self) -> bool:
        """Whether distances along it mean something."""
        return all(isinstance(level, int | float) for level in self.levels)

    @property
    def is_logarithmic(self) -> bool:
        """Whether the values are better compared by their ratios: 0.5, 1, 4 as well as decades."""
        numbers = [level for level in self.levels if not isinstance(level, str)]
        return self.is_numeric and min(numbers) > 0 and max(numbers) >= 5 * min(numbers)

    @property
    def labels(self) -> list[str]:
        """The levels as text."""
        return [level if isinstance(level, str) else f"{level:g}" for level in self.levels]

    def places(self, values: Sequence[Value]) -> np.ndarray:
        """Positions of values along the axis: numbers as they are, text at 0, 1, ….

        >>> Axis("lr", [], [0.001, 0.01, 0.1]).places([0.01]).tolist(), Axis("prior", [], ["a", "b"]).places(["b"])
        ([0.01], array([1.]))
        """
        return np.array(values if self.is_numeric else [self.levels.index(value) for value in values], dtype=float)

    def fractions(self, values: Sequence[Value]) -> np.ndarray:
        """Places between 0 and 1, along the logarithm where the values span a decade."""
        places, ends = self.places(values), self.places(self.levels)
        if self.is_logarithmic:
            places, ends = np.log(places), np.log(ends)
        width = ends.max() - ends.min()
        return (places - ends.min()) / width if width else np.full(len(places), 0.5)


def divergence_limit(values: Sequence[float]) -> float:
    """The value above which runs have diverged, beside which the others would be one flat line; ∞ where none has.

    At least half of the values are others. A run has diverged if it is farther above the best than ten times their
    range, and than twice their median.

    >>> divergence_limit([95.0, 97.0, 99.0, 110.0, 206.0]), divergence_limit([95.0, 97.0, 99.0, 1e6])
    (inf, 289.0)
    """
    ordered = sorted(values)
    for count in range(max(2, (len(ordered) + 1) // 2), len(ordered)):
        others = ordered[:count]
        limit = others[0] + max(10 * (others[-1] - others[0]), 2 * abs(statistics.median(others)))
        if ordered[count] > limit:
            return limit
    return math.inf


def ceiling_of(values: Sequence[float]) -> float:
    """The end of a scale that diverged runs do not flatten for the others."""
    limit = divergence_limit(values)
    return max(value for value in values if value <= limit)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of a sweep.

    Args:
        width: width in inches.
        height: height in inches.
    """
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def rank_colour(rank: int, count: int) -> tuple[float, float, float, float]:
    """Dark blue for the best, over violet to red for the worst.

    Args:
        rank: place of a setting, 0 for the best.
        count: number of settings.
    """
    return matplotlib.colormaps["plasma"](WORST_COLOUR * rank / max(1, count - 1))


def end_above(axes: Axes, inside: Sequence[float], above: int) -> None:
    """End the vertical axis a little beyond some values, and note how many runs lie above it.

    Args:
        axes: axes of the figure.
        inside: values that the axis shows.
        above: number of runs that are cut off.
    """
    room = 0.05 * ((max(inside) - min(inside)) or 1.0)
    axes.set_ylim(min(inside) - room, max(inside) + room)
    if above:
        note = f"↑ {above} run{'s' if above > 1 else ''} above"
        axes.annotate(note, (0.01, 0.99), xycoords="axes fraction", va="top", fontsize=8, color="0.4")
