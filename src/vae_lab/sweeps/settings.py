"""The settings of a sweep: the keys in which its runs differ, seeds folded together, and how sure the best one is."""

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from scipy.special import stdtrit

from vae_lab.config.settings import Leaves, choices, typed
from vae_lab.sweeps.runs import CLASS, Run, read


@dataclass(frozen=True)
class Setting:
    """The finished runs of a sweep that differ in their seed alone.

    Args:
        values: of the swept keys.
        runs: one a seed, the best first.
    """

    values: Leaves
    runs: list[Run]

    def has(self, name: str) -> bool:
        """Whether each run measured it."""
        return all(name in run.metrics for run in self.runs)

    def mean(self, name: str) -> float:
        """Mean of a metric over the seeds."""
        return statistics.mean(run.metrics[name] for run in self.runs)

    def sd(self, name: str) -> float | None:
        """Standard deviation of a metric over the seeds; None where there is one seed."""
        return statistics.stdev(run.metrics[name] for run in self.runs) if len(self.runs) > 1 else None

    @property
    def label(self) -> str:
        """The swept keys and their values, as a person types them."""
        return label_of(self.values) or "the one setting"


@dataclass(frozen=True)
class Difference:
    """How far two settings lie apart: Welch's t, from the means and standard deviations over seeds.

    Args:
        mean: of the second, minus that of the first.
        error: standard error √(s₁²/n₁ + s₂²/n₂) of that.
        freedom: its degrees of freedom, after Welch and Satterthwaite.
    """

    mean: float
    error: float
    freedom: float

    @property
    def in_errors(self) -> float:
        """The difference in standard errors."""
        return abs(self.mean) / self.error

    @property
    def by_chance(self) -> float:
        """The number of standard errors that chance stays below 19 times in 20: Student's t at 97.5 %."""
        return float(stdtrit(self.freedom, 0.975))


class Sweep:
    """What a folder of runs says, read once.

    Args:
        folder: that holds the runs, at any depth.

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
        """The finished runs, the best ``best/nelbo`` first."""
        done = (run for run in self.runs if run.status == "finished")
        return sorted(done, key=lambda run: run.metrics["best/nelbo"])

    @property
    def chosen_by(self) -> str:
        """What ``best/nelbo`` is: the validation NELBO, or the training NELBO where nothing was held out."""
        held_out = {"best/val/nelbo" in run.metrics for run in self.finished}
        if held_out == {True, False}:
            return "NELBO chosen by"
        return "training NELBO" if held_out == {False} else "validation NELBO"

    def facts(self, name: str) -> list[str]:
        """The distinct values of a fact of the finished runs, as text."""
        return sorted({str(run.metrics[name]) for run in self.finished if name in run.metrics})

    @property
    def is_on_one_scale(self) -> bool:
        """Whether the NELBOs of the runs are figures of one kind, of one data set."""
        return all(len(self.facts(name)) < 2 for name in ("data", "binarization", "is_likelihood")) and not any(
            key.startswith("likelihood.") for key in self.keys
        )


def difference(first: Setting, second: Setting, name: str) -> Difference | None:
    """How much larger a metric is with the second setting; None where seeds do not tell how sure that is."""
    parts = [(sd**2 / len(setting.runs), len(setting.runs)) for setting in (first, second) if (sd := setting.sd(name))]
    if len(parts) < 2:
        return None
    total = sum(square for square, _ in parts)
    freedom = total**2 / sum(square**2 / (n - 1) for square, n in parts)
    return Difference(second.mean(name) - first.mean(name), math.sqrt(total), freedom)


def swept_keys(runs: Sequence[Run]) -> list[str]:
    """The keys in which the settings of runs differ, but for the seed.

    A key is left out where it only follows another: where a shorter key that it ends with has the same value in each
    run (``encoder.hidden_dims`` and ``hidden_dims``). An argument counts where it differs between runs of the same
    class: of ``prior=mixture,vamp`` there remains the class.
    """
    # the order of the configs, with keys that only some have where they first turn up
    keys = list(dict.fromkeys(key for run in runs for key in run.settings))
    runs = [run for run in runs if run.settings]
    # in a run that is known by its folder's name, nothing follows what the name says
    configured = [run for run in runs if run.config is not None]
    return [key for key in keys if key != "seed" and _differs(key, runs) and not follows(key, configured)]


def follows(key: str, runs: Sequence[Run]) -> bool:
    """Whether a shorter key that this one ends with has the same value in each run that has this one."""
    having = [run.settings for run in runs if key in run.settings]
    return bool(having) and any(
        all(shorter in values and _key_of(values[shorter]) == _key_of(values[key]) for values in having)
        for shorter in _endings(key)
    )


def independent(keys: Sequence[str], settings: Sequence[Setting]) -> list[list[str]]:
    """The keys that differ between settings, those that change hand in hand together: they are one axis."""
    found: dict[tuple[int, ...], list[str]] = defaultdict(list)
    for key in keys:
        values = [_key_of(setting.values.get(key)) for setting in settings]
        if len(set(values)) > 1:
            found[tuple(values.index(value) for value in values)].append(key)
    return list(found.values())


def folded(runs: Sequence[Run], keys: Sequence[str]) -> list[Setting]:
    """The finished runs, seeds folded together, the best mean ``best/nelbo`` first.

    Of runs that repeat a seed of the same settings the first is taken, lest a repetition pass for a second seed.
    """
    groups: dict[str, dict[str, Run]] = defaultdict(dict)
    for run in runs:
        if run.status == "finished":
            values = _key_of([run.settings.get(key) for key in keys])
            groups[values].setdefault(_key_of(run.seed), run)
    settings = []
    for group in groups.values():
        of_group = sorted(group.values(), key=lambda run: run.metrics["best/nelbo"])
        settings.append(Setting(values_of(of_group[0], keys), of_group))
    return sorted(settings, key=lambda setting: setting.mean("best/nelbo"))


def levels_of(key: str, settings: Sequence[Setting]) -> list[Any]:
    """The distinct values of a key in order: numbers by size, lists by length, text by the alphabet."""

    def order(value: Any) -> tuple[Any, ...]:
        if isinstance(value, int | float):
            return (0, value)
        if isinstance(value, list):
            return (1, len(value), len(typed(value)), typed(value))  # of [64] and [512] the shorter text is smaller
        return (2, 0, shown(key, value))

    distinct = {_key_of(value): value for value in (setting.values.get(key) for setting in settings)}
    return sorted(distinct.values(), key=order)


def values_of(run: Run, keys: Sequence[str]) -> Leaves:
    """The swept values of a run, without the arguments of a class that is not its own."""
    return {key: run.settings.get(key) for key in keys if key in run.settings or key.endswith(CLASS)}


def label_of(values: Leaves) -> str:
    """Keys and values as a person types them."""
    return "  ".join(f"{name_of(key)}={shown(key, value)}" for key, value in values.items())


def name_of(key: str) -> str:
    """A key as a person knows it: that of a class is the part's."""
    return key.removesuffix(CLASS)


def shown(key: str, value: Any) -> str:
    """A value as a person would type it; a class as the part's choice, or by its own name."""
    if not key.endswith(CLASS):
        return typed(value)
    if value is None:
        return "none"
    return _choices(name_of(key)).get(str(value), str(value).rpartition(".")[2])


@cache
def _choices(key: str) -> dict[str, str]:
    """The classes of a part and the first choice that names each."""
    found: dict[str, str] = {}
    for choice, target in choices(key.rpartition(".")[2]).items():
        found.setdefault(str(target), choice)
    return found


def _differs(key: str, runs: Sequence[Run]) -> bool:
    """Whether a key has two values among runs whose classes above it are the same."""
    values = defaultdict(set)
    above = [f"{key[: match.start()]}{CLASS}" for match in re.finditer(r"\.", key)]
    for run in runs:
        # a part may be there in some runs only; of an argument that says nothing
        if key in run.settings or key.endswith(CLASS):
            classes = tuple(run.settings.get(name) for name in above if name != key)
            values[classes].add(_key_of(run.settings.get(key)))
    return any(len(found) > 1 for found in values.values())


def _endings(key: str) -> Iterator[str]:
    return (key[match.end() :] for match in re.finditer(r"\.", key))


def _key_of(value: Any) -> str:
    """Equal for equal values, whether 1 or 1.0, and fit for a set where they are lists."""
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)
