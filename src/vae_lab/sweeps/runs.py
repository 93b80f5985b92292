"""The runs of a sweep: found in a folder and read."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from vae_lab.config.settings import Leaves, settings_of
from vae_lab.errors import RunFolderError
from vae_lab.runs.folder import RunFolder, criterion_name, is_finished, is_finite_number
from vae_lab.sweeps.folders import FAILURE, failure_of
from vae_lab.sweeps.overrides import settings_in

MARKS = ("config.yaml", "metrics.json", FAILURE)  # files of a run; one that was cut off early may have only its log
# names of figures; {criterion} is replaced by the name of the run's criterion
BEST, TEST = "best/{criterion}", "test/{criterion}"


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Args:
        path: folder of the run.
        name: path of that folder, relative to the sweep's.
        settings: values of its config below their dotted keys.
        config: config of the run; None where it wrote none that can be read.
        metrics: what the run measured, as in its ``metrics.json``.
        history: what it measured in each epoch, as in its ``metrics.csv``.
        failure: reason of its failure, in one line; None where it did not fail.
    """

    path: Path
    name: str
    settings: Leaves
    config: DictConfig | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    failure: str | None = None

    @property
    def status(self) -> str:
        """``finished``, ``failed`` or ``cut off``."""
        if self.failure is not None:
            return "failed"
        return "finished" if is_finished(self.metrics) else "cut off"

    @property
    def seed(self) -> Any:
        """The seed of the run; None where nothing names it."""
        return self.settings.get("seed")

    @property
    def criterion(self) -> str:
        """The name of the figure that the run is chosen by."""
        return criterion_name(self.metrics)

    def figure(self, name: str) -> Any:
        """What the run measured under a name, with its own criterion for ``{criterion}``; None where it did not."""
        return self.metrics.get(name.format(criterion=self.criterion))


def find(sweep_dir: Path | str | None, task: str = "report") -> list[Path]:
    """The run folders below a folder, at any depth, in the order of their names.

    Args:
        sweep_dir: folder that holds the runs.
        task: task that reads them, for messages.

    Raises:
        RunFolderError: if there are none, or the folder is a run itself.
    """
    if not sweep_dir:
        raise RunFolderError(f"task={task}: needs a folder of runs; add sweep_dir=FOLDER")
    folder = Path(sweep_dir)
    if not folder.is_dir():
        raise RunFolderError(f"sweep_dir={sweep_dir}: there is no such folder; give the folder that holds the runs")
    if _is_run(folder):
        remedy = "give the folder that holds the runs"
        remedy = f"{remedy}, or run_dir={sweep_dir}" if task == "evaluate" else remedy
        raise RunFolderError(f"sweep_dir={sweep_dir}: is a run itself; {remedy}")
    seen = {folder.resolve()}
    found = [run for child in _folders(folder) for run in _runs_below(child, seen)]
    if not found:
        raise RunFolderError(f"sweep_dir={sweep_dir}: holds no runs; give the folder that holds them")
    return found


def read(sweep_dir: Path) -> list[Run]:
    """The training runs of a folder.

    A run with a damaged file counts as failed. For a run that failed before it wrote its config, the folder's name
    gives settings; the others are assumed to be those of the other runs.

    Args:
        sweep_dir: folder that holds the runs.

    Raises:
        RunFolderError: if there are none.
    """
    runs = [_read_run(path, str(path.relative_to(sweep_dir))) for path in find(sweep_dir)]
    runs = [run for run in runs if run.settings.get("task", "train") == "train"]
    if not runs:
        raise RunFolderError(f"sweep_dir={sweep_dir}: none of the runs in it is of task=train")
    usual = next((run.settings for run in runs if run.config is not None), {})
    return [replace(run, settings=usual | run.settings) if run.config is None and run.settings else run for run in runs]


def by_epoch(
    history: Sequence[Mapping[str, float]], criterion: str, name: str | None = None
) -> list[tuple[int, float]]:
    """Epochs, counted from 1, and a figure after each, where it is a finite number.

    Args:
        history: what the run measured in each epoch.
        criterion: name of the figure that the run is chosen by; it says which images are looked at.
        name: name of the figure; None for the criterion.
    """
    # those of training, where nothing was held out for validation
    split = "val" if any(f"val/{criterion}" in row for row in history) else "train"
    shown = f"{split}/{name or criterion}"
    return [
        (int(row["epoch"]) + 1, row[shown])
        for row in history
        if is_finite_number(row.get(shown)) and is_finite_number(row.get("epoch"))
    ]


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in MARKS)


def _folders(folder: Path) -> list[Path]:
    """The folders in a folder; what a sweep keeps beside its runs begins with a dot."""
    return sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _runs_below(folder: Path, seen: set[Path]) -> list[Path]:
    """Runs in a folder, itself included; links are followed, each place once."""
    if folder.resolve() in seen:
        return []
    seen.add(folder.resolve())
    if _is_run(folder):
        return [folder]
    found = [run for child in _folders(folder) for run in _runs_below(child, seen)]
    return found or ([folder] if (folder / "run.log").exists() else [])


def _read_run(path: Path, name: str) -> Run:
    folder = RunFolder(path)
    settings, config = settings_in(path.name), None
    try:
        if folder.config_file.exists():
            config = folder.read_plain_config()
            settings = settings_of(config)
        history = folder.read_history()
        metrics = _measured(folder, history)
    except RunFolderError as error:
        return Run(path, name, settings, config, failure=str(error))
    failure = None if is_finished(metrics) else failure_of(path)
    return Run(path, name, settings, config, metrics, history, failure)


def _measured(folder: RunFolder, history: list[dict[str, float]]) -> dict[str, Any]:
    """The metrics of a run; a finished one must have the value of its criterion.

    Raises:
        RunFolderError: if that is missing, or the file is damaged.
    """
    metrics = folder.read_metrics()
    if not is_finished(metrics):
        return metrics
    criterion = criterion_name(metrics)
    # if the file was lost, task=evaluate wrote another, with only what can be measured again
    best = min((value for _, value in by_epoch(history, criterion)), default=None)
    metrics = {f"best/{criterion}": best} | metrics
    if metrics[f"best/{criterion}"] is None:
        raise RunFolderError(f"{folder.metrics_file}: best/{criterion} is missing")
    return metrics
