"""The tables of a report: as rows of cells, which the page, the terminal, Markdown and LaTeX share."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vae_lab.config.settings import name_of, shown
from vae_lab.sweeps.comparisons import Baseline, difference
from vae_lab.sweeps.runs import BEST, TEST, Run
from vae_lab.sweeps.sweep import BITS, Setting, Sweep

# digits after the point, where these are not two
DIGITS = {
    BITS: 3,
    "train/seconds": 1,
    "test/active_units": 0,
    "test/class_balance": 3,
    **{f"judge/{name}": 3 for name in ("kernel_distance", "precision", "recall", "class_balance", "confidence")},
    **{f"judge/{name}": 3 for name in ("knn_accuracy", "linear_accuracy")},
}
# what task=evaluate measures, by the words of its columns
INFERENCE = {
    "active units": "test/active_units",
    "I(x; z)": "test/mutual_information",
    "KL(q(z) ‖ p(z))": "test/marginal_kl",
    "log p(x) − ELBO": "gaps/total",
    "approximation": "gaps/approximation",
    "amortisation": "gaps/amortisation",
}
JUDGED = {
    "Fréchet": "judge/frechet_distance",
    "kernel": "judge/kernel_distance",
    "precision": "judge/precision",
    "recall": "judge/recall",
    "label balance": "judge/class_balance",
    "confidence": "judge/confidence",
    "nearest training image": "judge/nearest_distance",
    "labels by kNN": "judge/knn_accuracy",
    "labels by regression": "judge/linear_accuracy",
}
REAL = ("_of_training_images", "_of_test_images")  # endings of what real images score
NONE = "–"
ALIKE = 1.05  # largest ratio of numbers of parameters that says nothing


class Cell(NamedTuple):
    """One value of a table.

    Args:
        text: what is shown.
        order: number that the rows are sorted by; None where there is none.
    """

    text: str
    order: float | None = None


class Column(NamedTuple):
    """The head of a column.

    Args:
        name: what is shown.
        is_number: whether its values are numbers.
    """

    name: str
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """Rows of cells below columns.

    Args:
        title: title of the table.
        columns: heads of the columns.
        rows: cells of each row, in the order of the columns.
        note: what a reader must know.
        last: a row that stands below all others.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    last: Sequence[Cell] | None = None

    @property
    def texts(self) -> list[list[str]]:
        """The heads, and each row."""
        rows = [*self.rows, *([self.last] if self.last else [])]
        return [[column.name for column in self.columns], *([cell.text for cell in row] for row in rows)]


def tables(sweep: Sweep, baseline: Baseline | None) -> list[Table]:
    """All settings; what task=evaluate measured of them, where it did."""
    found = [of_settings(sweep, baseline), _of_inference(sweep), _of_samples(sweep)]
    return [table for table in found if table is not None]


def of_settings(sweep: Sweep, baseline: Baseline | None) -> Table:
    """The settings in the order of their criterion, with the gap to the best and its standard error."""
    words = [sweep.chosen_by.name, f"test {sweep.quantity.name}"]
    against = ["against baseline", "p (Holm)"] if baseline else []
    names = [*words, *(["gap to best"] if sweep.is_on_one_scale else []), *against]
    names += [*(["parameters"] if _sizes(sweep) else []), "training / s"]
    names += [f"test {word}" if name.startswith("test/") else word for word, name in sweep.terms.items()]
    columns = [Column("rank"), *_heads(sweep), Column("seeds"), *map(Column, names)]
    rows = []
    for place, setting in enumerate(sweep.settings):
        row = [_count(place + 1), *_swept(sweep, setting), _count(len(setting.runs))]
        row += [measured(setting, BEST), measured(setting, TEST)]
        row += [_gap(sweep.settings[0], setting)] if sweep.is_on_one_scale else []
        row += _against(baseline, place)
        row += [_parameters(setting)] if _sizes(sweep) else []
        row += [measured(setting, name) for name in ("train/seconds", *sweep.terms.values())]
        rows.append(row)
    unit = f"{sweep.quantity.unit.capitalize()}, mean" if sweep.quantity.unit else "Mean"
    note = f"{unit} ± standard deviation over seeds; gaps ± standard error of the difference"
    return Table(
        "All settings", columns, rows, f"{note}." if sweep.is_on_one_scale else f"{unit} ± standard deviation."
    )


def measured(setting: Setting, name: str) -> Cell:
    """A figure as mean ± standard deviation over seeds; a dash where a run lacks it."""
    if not setting.has(name):
        return Cell(NONE)
    sd, digits = setting.sd(name), DIGITS.get(name, 2)
    mean = setting.mean(name)
    return Cell(_signed(f"{mean:.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")), mean)


def size_sentence(sweep: Sweep) -> str | None:
    """The numbers of parameters of the smallest and the largest setting; None where all have about the same."""
    sizes = sorted(
        (max(setting.figures("parameters")), i) for i, setting in enumerate(sweep.settings) if _sized(setting)
    )
    if not sizes or sizes[-1][0] <= ALIKE * sizes[0][0]:
        return None
    (least, small), (most, large) = sizes[0], sizes[-1]
    best = max(sweep.settings[0].figures("parameters")) if _sized(sweep.settings[0]) else 0
    of_best = f", {millions(best)} of the best" if best not in (0, least, most) else ""
    small_one, large_one = (sweep.settings[i].label for i in (small, large))
    return (
        f"The settings differ in size: {millions(least)} parameters ({small_one}) to {millions(most)} ({large_one})"
        f"{of_best}."
    )


def millions(count: float) -> str:
    """A number of parameters, short.

    >>> millions(1_053_404), millions(9_500)
    ('1.05 M', '9.5 k')
    """
    return f"{count / 1e6:.2f} M" if count >= 1e5 else f"{count / 1e3:.1f} k"


def _sized(setting: Setting) -> bool:
    return setting.has("parameters") and all(isinstance(value, int | float) for value in setting.figures("parameters"))


def _sizes(sweep: Sweep) -> bool:
    return any(map(_sized, sweep.settings))


def _parameters(setting: Setting) -> Cell:
    if not _sized(setting):
        return Cell(NONE)
    counts = sorted(set(setting.figures("parameters")))
    return Cell(" to ".join(f"{count:,}" for count in {counts[0]: 0, counts[-1]: 0}), counts[0])


def _heads(sweep: Sweep) -> list[Column]:
    return [Column(name_of(key), _is_numeric(sweep, key)) for key in sweep.keys]


def _is_numeric(sweep: Sweep, key: str) -> bool:
    values = [setting.values[key] for setting in sweep.settings if key in setting.values]
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _swept(sweep: Sweep, setting: Setting) -> list[Cell]:
    cells = []
    for key in sweep.keys:
        value = setting.values.get(key)
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
        cells.append(Cell(shown(key, value), number) if key in setting.values else Cell(NONE))
    return cells


def _count(number: int) -> Cell:
    return Cell(str(number), number)


def _gap(best: Setting, setting: Setting) -> Cell:
    """How much higher the test figure is than that of the best, with its standard error where seeds tell it."""
    if setting is best:
        return Cell(NONE, 0.0)
    apart = setting.mean(TEST) - best.mean(TEST)
    found = difference(best, setting, TEST)
    return Cell(_signed(f"{apart:+.2f}" if found is None else str(found)), apart)


def _signed(number: str) -> str:
    """A number with the sign for minus that figures have."""
    return number.replace("-", "−", 1) if number.startswith("-") else number


def _against(baseline: Baseline | None, place: int) -> list[Cell]:
    if baseline is None:
        return []
    found, p = baseline.differences[place], baseline.p[place]
    if found is None or p is None:
        return [Cell(NONE), Cell(NONE)]
    return [Cell(_signed(str(found)), found.mean), Cell("< 0.001" if p < 0.001 else f"{p:.3f}", p)]


def _of_inference(sweep: Sweep) -> Table | None:
    """Bounds of log p(x), what the KL is made of and the gaps, where task=evaluate measured them."""
    bounds = Counter(
        name
        for setting in sweep.settings
        for name in setting.runs[0].metrics
        if re.fullmatch(r"test/nll_iwae_\d+", name) and setting.has(name)
    )
    columns = {}
    if bounds:
        # the number of draws that most settings have, of these the largest
        name = max(bounds, key=lambda name: (bounds[name], int(name.rpartition("_")[2])))
        columns = {f"−log p(x), k = {int(name.rpartition('_')[2]):,}": name}
    note = "Nats per image. The gaps are log p(x) − ELBO and its two parts, of the test images that were measured."
    return _evaluated(sweep, "Bounds, codes and gaps", columns | INFERENCE, note)


def _of_samples(sweep: Sweep) -> Table | None:
    """What a classifier says of samples, and of real images, where task=evaluate asked it."""
    counts = sweep.facts("judge/samples")
    note = (
        f"{' or '.join(counts) or 'Some'} samples; Fréchet and kernel distance, precision and recall between features "
    )
    note += "of the data set's own classifier, not comparable with Inception's."
    found = _evaluated(sweep, "Samples, judged by a classifier", JUDGED, note)
    if found is None:
        return None
    shown_names = [JUDGED[column.name] for column in found.columns[1 + len(sweep.keys) :]]
    of_real = [_of_real(name, sweep.finished) for name in shown_names]
    blank = [Cell(NONE)] * max(0, len(sweep.keys) - 1)
    first = [Cell(NONE), Cell("real images"), *blank] if sweep.keys else [Cell("real images")]
    return Table(found.title, found.columns, found.rows, found.note, [*first, *of_real])


def _of_real(name: str, runs: Sequence[Run]) -> Cell:
    """What real images score; it is the same for all runs that were judged alike."""
    value = next((run.metrics[name + end] for run in runs for end in REAL if name + end in run.metrics), None)
    return Cell(NONE) if value is None else Cell(f"{value:.{DIGITS.get(name, 2)}f}", value)


def _evaluated(sweep: Sweep, title: str, names: Mapping[str, str], note: str) -> Table | None:
    """A table of the figures that a setting has; None where none has any."""
    kept = {word: name for word, name in names.items() if any(setting.has(name) for setting in sweep.settings)}
    if not kept:
        return None
    columns = [Column("rank"), *_heads(sweep), *map(Column, kept)]
    rows = [
        [_count(place + 1), *_swept(sweep, setting), *(measured(setting, name) for name in kept.values())]
        for place, setting in enumerate(sweep.settings)
    ]
    return Table(title, columns, rows, note)
