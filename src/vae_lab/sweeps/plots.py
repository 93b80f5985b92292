"""Which figures a sweep has, and what they show."""

from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from vae_lab.config.settings import name_of, shown
from vae_lab.figures import sweeps as figures
from vae_lab.figures.learning_curves import LearningCurve, learning_curves
from vae_lab.figures.quantities import BESIDE, Quantity
from vae_lab.figures.sweep_axes import Axis, Measured, Value
from vae_lab.sweeps.runs import BEST, TEST, Run, by_epoch
from vae_lab.sweeps.sweep import Setting, Sweep, label_of, levels_of, values_of

LONGEST = 60  # characters of a text inside a figure


class Drawn(NamedTuple):
    """A figure of a report.

    Args:
        heading: heading above it on the page.
        figure: the figure, as wide as a page of paper allows.
        narrow: the same for the width of a phone.
    """

    heading: str
    figure: Figure
    narrow: Figure | None = None


def drawn(sweep: Sweep) -> dict[str, Drawn]:
    """The figures of a sweep by the names of their files: the effect of the swept keys, and the learning curves."""
    if not sweep.settings:
        return {}
    found = {"settings": Drawn(_heading(sweep), _over_keys(sweep))}
    if panels := _panels(sweep):
        narrow = learning_curves(panels, columns=1) if len(panels) > 1 else None
        found["learning_curves"] = Drawn("Learning curves", learning_curves(panels), narrow)
    return found


def _panels(sweep: Sweep) -> dict[Quantity, list[LearningCurve]]:
    """The criterion and the figures beside it by epoch: for each the curves of the settings that have it."""
    images = sweep.chosen_by.name.partition(" ")[0]  # validation or training
    panels = {sweep.chosen_by: _curves(sweep, None)}
    for name, (words, unit) in (BESIDE.get(sweep.criteria[0], {}) if len(sweep.criteria) == 1 else {}).items():
        panels[Quantity(f"{images} {words}", unit)] = _curves(sweep, name)
    return {quantity: curves for quantity, curves in panels.items() if curves}


def _curves(sweep: Sweep, name: str | None) -> list[LearningCurve]:
    curves = []
    for setting in sweep.settings:
        runs = [(run, by_epoch(run.history, run.criterion, name)) for run in setting.runs]
        if sweep.axes:
            kept = [points for _, points in runs if points]
            curves += [LearningCurve(_curve_label(sweep, setting.runs[0]), kept)] if kept else []
        else:  # nothing but seeds differs: each has its curve
            curves += [LearningCurve(_curve_label(sweep, run), [points]) for run, points in runs if points]
    return curves


def _heading(sweep: Sweep) -> str:
    if not sweep.axes:
        return f"{sweep.quantity.name} by seed"
    names = [name_of(axis[0]) for axis in sweep.axes]
    return f"{sweep.chosen_by.at_start} over {', '.join(names)}"


def _over_keys(sweep: Sweep) -> Figure:
    """The figure for the number of axes: by seed, a line, a table, or parallel coordinates."""
    settings, titles = sweep.settings, {sweep.chosen_by.name: BEST, f"test {sweep.quantity.name}": TEST}
    axes = [_axis(keys, settings) for keys in sweep.axes]
    if not axes:
        runs = sorted(settings[0].runs, key=lambda run: str(run.seed).zfill(10))
        by_seed = {title: [(_plain(str(run.seed)), run.figure(of)) for run in runs] for title, of in titles.items()}
        return figures.seeds(by_seed, sweep.quantity)
    measured = {
        title: [Measured(setting.mean(of), setting.sd(of)) for setting in settings] for title, of in titles.items()
    }
    if len(axes) == 1:
        along = zip(axes[0].values, settings, strict=True)
        points = [(value, best) for value, setting in along for best in setting.figures(BEST)]
        return figures.line(axes[0], measured, points, sweep.quantity)
    # a search that tries every value once has no grid
    cells = len(axes[0].levels) * len(axes[1].levels)
    if len(axes) == 2 and cells <= 4 * len(settings):
        return figures.heat_map(axes[1], axes[0], measured[sweep.chosen_by.name], sweep.chosen_by)
    return figures.parallel(axes, measured[sweep.chosen_by.name], sweep.chosen_by)


def _axis(keys: Sequence[str], settings: Sequence[Setting]) -> Axis:
    """One axis for the keys that always change together, named by the first."""
    key = keys[0]
    levels = levels_of(key, settings)
    numeric = all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)
    if not any(isinstance(level, int | float | list) for level in levels):
        # names have no order of their own: that of the ranks, the best first
        levels = list(dict.fromkeys(setting.values.get(key) for setting in settings))

    def on_axis(value: object) -> Value:
        return float(value) if numeric and isinstance(value, int | float) else _plain(shown(key, value))

    more = f"\n(and {len(keys) - 1} more with it)" if len(keys) > 1 else ""
    values = [on_axis(setting.values.get(key)) for setting in settings]
    return Axis(_plain(f"{name_of(key)}{more}"), values, list(dict.fromkeys(map(on_axis, levels))))


def _curve_label(sweep: Sweep, run: Run) -> str:
    """The setting, by one key of each axis; the seed where nothing else differs."""
    values = values_of(run, [axis[0] for axis in sweep.axes])
    return (label_of(values) or f"seed={run.seed}").replace("$", r"\$")


def _plain(text: str) -> str:
    """A text inside a figure, where matplotlib would read formulas between dollar signs."""
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…").replace("$", r"\$")
