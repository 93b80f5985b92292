"""Which figures a sweep has, and what they show."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from vae_lab.config.settings import name_of, shown
from vae_lab.figures import sweeps as figures
from vae_lab.figures.sweep_axes import Axis, Measured, Value
from vae_lab.sweeps.runs import BEST, TEST, Run, criterion_by_epoch
from vae_lab.sweeps.sweep import Setting, Sweep, label_of, levels_of, values_of

LONGEST = 60  # characters of a text inside a figure


def drawn(sweep: Sweep) -> dict[str, Figure]:
    """The figures of a sweep by their headings: the effect of the swept keys, and the learning curves of all runs."""
    if not sweep.settings:
        return {}
    found = {_heading(sweep): _over_keys(sweep)}
    curves = [
        figures.LearningCurve(_curve_label(sweep, run), *zip(*points, strict=True))
        for setting in sweep.settings
        for run in setting.runs
        if (points := criterion_by_epoch(run.history, run.criterion))
    ]
    if curves:
        found["Learning curves"] = figures.learning_curves(curves, sweep.chosen_by)
    return found


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
