"""A sweep as it is on the disk: the keys in which its runs differ, and its settings, with seeds folded together."""

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vae_lab.config.settings import CLASS, Leaves, comparable, follows, name_of, shown, typed
from vae_lab.figures.quantities import Quantity, quantity_of
from vae_lab.sweeps.runs import BEST, Run, read

BITS = "test/bits_per_dimension"
# figures beside each criterion, by their words; precision and recall are known after task=evaluate
TERMS = {
    "nelbo": {"KL": "test/kl", "reconstruction": "test/reconstruction", "bits/dimension": BITS},
    "frechet_distance": {
        "precision": "judge/precision",
        "recall": "judge/recall",
        "label balance": "test/class_balance",
    },
}


@dataclass(frozen=True)
class Setting:
    """The finished runs of a sweep that differ in their seed alone.

    Args:
        values: values of the swept keys.
        runs: runs of the setting, one for each seed, the best first.
    """

    values: Leaves
    runs: list[Run]

    def has(self, name: str) -> bool:
        """Whether each run measured a figure."""
        return all(run.figure(name) is not None for run in self.runs)

    def figures(self, name: str) -> list[float]:
        """A figure of each run, the best run first."""
        return [run.figure(name) for run in self.runs]

    def mean(self, name: str) -> float:
        """Mean of a figure over the seeds."""
        return statistics.mean(self.figures(name))

    def sd(self, name: str) -> float | None:
        """Standard deviation of a figure over the seeds; None where there is one seed."""
        return statistics.stdev(self.figures(name)) if len(self.runs) > 1 else None

    @property
    def label(self) -> str:
        """The swept keys and their values, as users type them."""
        return label_of(self.values) or "the one setting"


class Sweep:
    """The runs of a folder, read once.

    Args:
        folder: folder that holds the runs, at any depth.

    Raises:
        RunFolderError: if it holds none.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.runs = read(folder)
        self.keys = swept_keys(self.runs)
        self.settings = folded(self.runs, self.keys)
        self.axes = independent(self.keys, self.settings)
        self.unfinished = [run for run in self.runs if run.status != "finished"]

    @property
    def finished(self) -> list[Run]:
        """The finished runs, the best first."""
        return sorted((run for run in self.runs if run.status == "finished"), key=lambda run: run.figure(BEST))

    @property
    def criteria(self) -> list[str]:
        """The names of the figures that the finished runs are chosen by; one kind of model has one."""
        return sorted({run.criterion for run in self.finished})

    @property
    def quantity(self) -> Quantity:
        """The words for the criterion of the runs."""
        if len(self.criteria) > 1:
            return Quantity("criterion")
        return quantity_of(self.criteria[0] if self.criteria else "nelbo")

    @property
    def chosen_by(self) -> Quantity:
        """The criterion and its images: those for validation, or those for training where nothing was held out."""
        name, unit = self.quantity
        held_out = {run.figure("best/val/{criterion}") is not None for run in self.finished}
        if held_out == {True, False}:
            return Quantity(f"{name} chosen by", unit)
        return Quantity(f"training {name}" if held_out == {False} else f"validation {name}", unit)

    def shown(self, setting: Setting) -> list[str]:
        """The values of the swept keys in a setting; a dash where it has no such key."""
        return [shown(key, setting.values[key]) if key in setting.values else "–" for key in self.keys]

    def facts(self, name: str) -> list[str]:
        """The distinct values of a fact of the finished runs, as text."""
        return sorted({str(run.metrics[name]) for run in self.finished if name in run.metrics})

    @property
    def terms(self) -> dict[str, str]:
        """The names of the figures that stand beside the criterion, where a setting has them, by their words."""
        named = {word: name for criterion in self.criteria for word, name in TERMS.get(criterion, {}).items()}
        return {word: name for word, name in named.items() if any(setting.has(name) for setting in self.settings)}

    @property
    def is_on_one_scale(self) -> bool:
        """Whether the runs are chosen by one figure, of one data set and one class of likelihood.

        The arguments of a likelihood change its densities, not the pixels that they are of. Those that give figures in
        bits are probabilities of the same images, whatever their class is.
        """
        same = (self.criteria, *(self.facts(name) for name in ("data", "binarization", "is_likelihood")))
        in_bits = bool(self.settings) and all(setting.has(BITS) for setting in self.settings)
        apart = {"data.sha256"} if in_bits else {"data.sha256", f"likelihood{CLASS}"}
        return all(len(values) < 2 for values in same) and not apart & set(self.keys)


def swept_keys(runs: Sequence[Run]) -> list[str]:
    """The keys in which the settings of runs differ, without the seed.

    A key is left out where it only follows another: where a shorter key that it ends with has the same value in each
    run (``encoder.hidden_dims`` and ``hidden_dims``). An argument counts where it differs between runs of the same
    class: of ``prior=mixture,vamp`` only the class counts.
    """
    # in the order of the configs; a key that only some have comes where it first appears
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    runs = [run for run in runs if run.settings]
    # a run without a config has only what its folder's name says, where no key follows another
    configured = [run.settings for run in runs if run.config is not None]
    return [key for key in keys if key != "seed" and _differs(key, runs) and not follows(key, configured)]


def independent(keys: Sequence[str], settings: Sequence[Setting]) -> list[list[str]]:
    """The keys that differ between settings; those that always change together are one axis."""
    found: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key in keys:
        values = [comparable(setting.values.get(key)) for setting in settings]
        if len(set(values)) > 1:
            found[tuple(values.index(value) for value in values)].append(key)
    return list(found.values())


def folded(runs: Sequence[Run], keys: Sequence[str]) -> list[Setting]:
    """The finished runs, seeds folded together, the setting with the best mean first.

    Of runs that repeat a seed of the same settings only the first counts, since a repetition is not a second seed.
    """
    groups: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        if run.status == "finished":
            values = comparable([run.settings.get(key) for key in keys])
            groups[values].setdefault(comparable(run.seed), run)
    settings = []
    for group in groups.values():
        of_group = sorted(group.values(), key=lambda run: run.figure(BEST))
        settings.append(Setting(values_of(of_group[0], keys), of_group))
    return sorted(settings, key=lambda setting: setting.mean(BEST))


def levels_of(key: str, settings: Sequence[Setting]) -> list[Any]:
    """The distinct values of a key in order: numbers by size, lists by length, text by the alphabet."""

    def order(value: Any) -> tuple[Any, ...]:
        if isinstance(value, int | float):
            return (0, value)
        if isinstance(value, list):
            return (1, len(value), len(typed(value)), typed(value))  # [64] before [512]
        return (2, 0, shown(key, value))

    distinct = {comparable(value): value for value in (setting.values.get(key) for setting in settings)}
    return sorted(distinct.values(), key=order)


def values_of(run: Run, keys: Sequence[str]) -> Leaves:
    """The swept values of a run, without the arguments of classes that it does not have."""
    return {key: run.settings.get(key) for key in keys if key in run.settings or key.endswith(CLASS)}


def label_of(values: Leaves) -> str:
    """Keys and values as users type them."""
    return "  ".join(f"{name_of(key)}={shown(key, value)}" for key, value in values.items())


def _differs(key: str, runs: Sequence[Run]) -> bool:
    """Whether a key has two values among runs whose classes above it are the same."""
    values = defaultdict(set)
    above = [f"{key[: match.start()]}{CLASS}" for match in re.finditer(r"\.", key)]
    for run in runs:
        # a part that only some runs have is a difference, but the argument of a part is not
        if key in run.settings or key.endswith(CLASS):
            classes = tuple(run.settings.get(name) for name in above if name != key)
            values[classes].add(comparable(run.settings.get(key)))
    return any(len(found) > 1 for found in values.values())
