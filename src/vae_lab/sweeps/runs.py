"""The runs of a sweep: found in a folder and read."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig

from vae_lab.config.settings import APART, Leaves, choices, leaves
from vae_lab.errors import RunFolderError
from vae_lab.runs.folder import RunFolder, is_finished, is_finite_number
from vae_lab.sweeps.folders import FAILURE, failure_of

CLASS = "._target_"
# a run that was cut off early may have nothing but its log
MARKS = ("config.yaml", "metrics.json", FAILURE)
REPORTED = ("best/nelbo", "test/nelbo", "test/kl", "test/reconstruction")


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Args:
        path: its folder.
        name: the folder within the sweep's.
        settings: values below their dotted keys, as in its config.
        config: its config; None where it wrote none that can be read.
        metrics: what it measured.
        history: the figures of each epoch.
        failure: why it failed, in one line; None where it did not.
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


def find(sweep_dir: Path | str | None) -> list[Path]:
    """The run folders below a folder, at any depth, in the order of their names.

    Raises:
        RunFolderError: if there are none, or the folder is a run itself.
    """
    if not sweep_dir:
        raise RunFolderError("task=report: needs a folder of runs; add sweep_dir=FOLDER")
    folder = Path(sweep_dir)
    if not folder.is_dir():
        raise RunFolderError(f"sweep_dir={sweep_dir}: there is no such folder; give the folder that holds the runs")
    if _is_run(folder):
        raise RunFolderError(f"sweep_dir={sweep_dir}: is a run itself; give the folder that holds the runs")
    seen = {folder.resolve()}
    found = [run for child in _folders(folder) for run in _runs_below(child, seen)]
    if not found:
        raise RunFolderError(f"sweep_dir={sweep_dir}: holds no runs; give the folder that holds them")
    return found


def read(sweep_dir: Path) -> list[Run]:
    """The training runs of a folder.

    A file that is damaged makes its run a failed one. A run that failed before it wrote its config is known by its
    folder's name; what that does not say is taken to be as in the other runs.

    Raises:
        RunFolderError: if there are none.
    """
    runs = [_read_run(path, str(path.relative_to(sweep_dir))) for path in find(sweep_dir)]
    runs = [run for run in runs if run.settings.get("task", "train") == "train"]
    if not runs:
        raise RunFolderError(f"sweep_dir={sweep_dir}: none of the runs in it is of task=train")
    usual = next((run.settings for run in runs if run.config is not None), {})
    return [replace(run, settings=usual | run.settings) if run.config is None and run.settings else run for run in runs]


def settings_of(config: DictConfig) -> Leaves:
    """Every value that a run's result can hang on: callbacks of ours draw and save, and change nothing."""
    found = leaves(config, resolve=False)
    classes = {key.removesuffix("_target_"): str(value) for key, value in found.items() if key.endswith(CLASS)}
    drawing = tuple(key for key, target in classes.items() if target.startswith("vae_lab.training.callbacks."))
    return {key: value for key, value in found.items() if not key.startswith(drawing)}


def nelbo_by_epoch(history: Sequence[Mapping[str, float]]) -> list[tuple[int, float]]:
    """Epochs, counted from 1, and the NELBO that runs are chosen by, where it is a finite number."""
    name = "val/nelbo" if any("val/nelbo" in row for row in history) else "train/nelbo"
    return [
        (int(row["epoch"]) + 1, row[name])
        for row in history
        if is_finite_number(row.get(name)) and is_finite_number(row.get("epoch"))
    ]


def _is_run(folder: Path) -> bool:
    return any((folder / mark).exists() for mark in MARKS)


def _folders(folder: Path) -> list[Path]:
    return sorted(Path(entry) for entry in os.scandir(folder) if entry.is_dir())


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
    settings, config = _settings_of_name(path.name), None
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
    """The metrics of a run; those of a finished one are held to be there."""
    metrics = folder.read_metrics()
    if not is_finished(metrics):
        return metrics
    # what task=evaluate made up for a lost file has only what can be tested again
    metrics = {"best/nelbo": min((nelbo for _, nelbo in nelbo_by_epoch(history)), default=None)} | metrics
    missing = [name for name in REPORTED if metrics.get(name) is None]
    if missing:
        raise RunFolderError(f"{folder.metrics_file}: {missing[0]} is missing")
    return metrics


def _settings_of_name(name: str) -> Leaves:
    """The overrides that a folder is named by; none where its name is another."""
    found: Leaves = {}
    for item in re.split(r",(?=[+~]?[\w./@]+=)", name):
        if "=" not in item:
            return {}
        try:
            override = OverridesParser.create().parse_override(item)
        except HydraException:
            return {}
        key, value = override.get_key_element().lstrip("+~"), override.value()
        is_choice = str(value) in choices(key)
        found |= {f"{key}{CLASS}": choices(key)[str(value)]} if is_choice else {key: value}
    return {key: value for key, value in found.items() if not key.startswith(APART)}
