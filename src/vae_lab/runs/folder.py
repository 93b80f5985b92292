"""A run folder: the files of one run, and how they are written and read.

A sweep's report reads runs without torch, so torch is imported only where a checkpoint is read.
"""

import codecs
import csv
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import ConfigError, NonFiniteError, RunFolderError, reason_of
from vae_lab.files.atomic import replace_file
from vae_lab.files.checks import read_text
from vae_lab.files.locks import TakenError, take
from vae_lab.paths import RUNS
from vae_lab.runs import saved_config

if TYPE_CHECKING:
    from torch import nn

LOGS = ("run.log", "vae_lab.log")  # ours, and that of Hydra's own logging
SERVICES = ("wandb", "mlruns", "trackio")  # folders of the loggers of training/loggers/services.py
LARGEST_TABLE = 50_000_000  # bytes of metrics.json or metrics.csv: 100,000 epochs and more


def is_finite_number(value: Any) -> bool:
    """Whether a value of a file is a figure that can be drawn and compared."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def criterion_name(metrics: Mapping[str, Any]) -> str:
    """The name of the figure that a run is chosen by; a run of the first edition does not say it."""
    return str(metrics.get("criterion", "nelbo"))


def is_finished(metrics: Mapping[str, Any]) -> bool:
    """Whether these are the figures of a finished run: the test is its last step."""
    return f"test/{criterion_name(metrics)}" in metrics


class RunFolder:
    """The files of one run; nothing in them names the folder, so it can be moved.

    Args:
        path: folder of the run.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.overrides_file = self.path / "overrides.yaml"
        self.metrics_file = self.path / "metrics.json"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint of the epoch with the best figure of the run's criterion."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The latest checkpoint."""
        return self.checkpoints / "last.ckpt"

    def discard_if_empty(self, with_folder: bool = True) -> None:
        """Delete the log where nothing else was written yet.

        Args:
            with_folder: delete the folder too, unless it is the current one.
        """
        if not self.path.is_dir() or not {entry.name for entry in self.path.iterdir()} <= set(LOGS):
            return
        for name in LOGS:
            (self.path / name).unlink(missing_ok=True)
        if with_folder and self.path.resolve() != Path.cwd():
            self.path.rmdir()
            with suppress(OSError):  # and the folders of all runs, where this would have been the first
                for folder in self.path.parents[: len(RUNS.parts)] if self.path.parent == RUNS.absolute() else ():
                    folder.rmdir()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes out of the folder inside the block.

        Raises:
            RunFolderError: if another process works on the run.
            DiskError: if the file system has no locks.
        """
        file = self.path / ".lock"
        remedy = "a new run goes elsewhere with hydra.run.dir=FOLDER; copy an existing one to another file system"
        try:
            lock = take(file, remedy, wait=False)
        except TakenError as error:
            reason = "another process is at work on this run; wait for it, or name another folder"
            raise RunFolderError(f"{self.path}: {reason}") from error
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            lock.release()

    @property
    def is_taken(self) -> bool:
        """Whether a process works on the run."""
        try:
            with self.alone():
                return False
        except RunFolderError:
            return True

    def clear(self) -> None:
        """Delete the files of a run that did not finish, except its log; files of others stay."""
        for folder in (self.figures, self.checkpoints, *(self.path / name for name in SERVICES)):
            if folder.exists():
                shutil.rmtree(folder)
        files = (self.config_file, self.overrides_file, self.metrics_file, self.path / "metrics.csv")
        ids = (self.path / f".{name}_id" for name in SERVICES)
        for file in (*files, *ids, *self.path.glob("events.out.*")):
            file.unlink(missing_ok=True)

    def write_config(self, config: DictConfig) -> None:
        """Save the config with every interpolation resolved, and so claim the folder for this run.

        Args:
            config: config of the run.

        Raises:
            ConfigError: if another run has claimed it, even at the same moment.
        """
        text = OmegaConf.to_yaml(config, resolve=True)  # before the file is there
        try:
            with self.config_file.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError as error:
            raise ConfigError("hydra.run.dir", self.path, "holds a run already; name another folder") from error

    def config_digest(self) -> str:
        """SHA-256 of ``config.yaml``, which each checkpoint carries, to say which model its weights belong to."""
        content = self.config_file.read_bytes()
        # an editor of Windows changes no setting, but writes other line ends and a mark at the beginning
        return hashlib.sha256(content.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")).hexdigest()

    def read_plain_config(self) -> DictConfig:
        """The config of the run as it is written, unchecked: it may be shown, but no object is built from it.

        Raises:
            RunFolderError: if it is missing or unreadable.
        """
        try:
            return saved_config.read_config(self.config_file)
        except FileNotFoundError as error:
            raise RunFolderError(f"{self.path}: no config.yaml in it; give the folder of a finished run") from error

    def write_overrides(self, overrides: list[str]) -> None:
        """Save the overrides that the run was composed from.

        Args:
            overrides: overrides as they were given, one text each.

        Raises:
            DiskError: if the file cannot be written.
        """
        replace_file(self.overrides_file, yaml.safe_dump(overrides, allow_unicode=True))

    def read_overrides(self) -> list[str] | None:
        """The overrides that the run was composed from; None where none can be read."""
        return saved_config.read_overrides(self.overrides_file)

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Save the figures of the run as one flat object.

        Args:
            metrics: value of each figure, by name.

        Raises:
            NonFiniteError: if one of them is not finite, so that nobody takes it for a result.
        """
        broken = [name for name, value in metrics.items() if isinstance(value, float) and not math.isfinite(value)]
        if broken:
            raise NonFiniteError(f"{', '.join(broken)} was not finite; nothing was written to {self.metrics_file}")
        replace_file(self.metrics_file, json.dumps(metrics, indent=2) + "\n")

    def read_metrics(self) -> dict[str, Any]:
        """The figures of the run; empty where none were written yet.

        Raises:
            RunFolderError: if the file is damaged.
        """
        try:
            metrics = json.loads(read_text(self.metrics_file, LARGEST_TABLE))
            _check_metrics(metrics)
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise RunFolderError(f"{self.metrics_file}: damaged ({error}); delete it and evaluate again") from error
        return metrics

    def read_history(self) -> list[dict[str, float]]:
        """The figures of each epoch; empty where the run kept no ``metrics.csv``.

        Raises:
            RunFolderError: if the file is damaged.
        """
        file = self.path / "metrics.csv"
        try:
            text = read_text(file, LARGEST_TABLE)
            if text and not text.endswith("\n"):
                raise ValueError("its last line is cut off")
            # an epoch without validation leaves its cells empty
            table = csv.DictReader(text.splitlines())
            rows = [{name: float(value) for name, value in row.items() if value != ""} for row in table]
            epochs = self.read_metrics().get("epochs", len(rows))
            if len(rows) != epochs:
                raise ValueError(f"{len(rows)} rows for {epochs} epochs")
            return rows
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, csv.Error) as error:
            raise RunFolderError(f"{file}: damaged ({error}); delete it to continue without the history") from error

    def load_weights(self, model: "nn.Module", checkpoint: dict[str, Any] | None = None) -> None:
        """Load the weights of the best checkpoint into a model.

        Args:
            model: the model that config.yaml describes.
            checkpoint: content of the best checkpoint; None reads it.

        Raises:
            RunFolderError: if there is no checkpoint, it is damaged or of another model, or the config was changed.
        """
        if checkpoint is None:
            checkpoint = self.read_checkpoint(self.best)
        try:
            model.load_state_dict(checkpoint["state_dict"])
        except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as error:
            reason = reason_of(error)
            raise RunFolderError(f"{self.best}: of another model than config.yaml says ({reason})") from error

    def read_checkpoint(self, file: Path) -> dict[str, Any]:
        """The content of one of this run's checkpoints.

        Args:
            file: file of the checkpoint.

        Raises:
            RunFolderError: if it is missing or damaged, or the config was changed after it.
        """
        from vae_lab.files import tensors  # late: it imports torch

        for place in (self.checkpoints, file):
            if place.is_symlink() and not place.exists():
                raise RunFolderError(f"{place}: is a link to {place.readlink()}, and nothing is there; put it back")
        if not file.is_file():
            ended = self.metrics_file.exists()
            reason = "put it back, the run is finished" if ended else "the run did not finish its first epoch"
            raise RunFolderError(f"{file}: there is no checkpoint; {reason}")
        checkpoint = tensors.read(file, "checkpoint")
        digest = self.config_digest()
        if checkpoint.get("config_sha256", digest) != digest:
            raise RunFolderError(
                f"{self.config_file}: was changed after {file.name} was written, so that it may describe another "
                "model; put the original back"
            )
        return checkpoint


def _check_metrics(metrics: Any) -> None:
    """Raise ValueError where what a ``metrics.json`` holds is not what a run writes."""
    if not isinstance(metrics, dict):
        raise ValueError("it is not an object of names and values")
    criterion = metrics.get("criterion", "nelbo")
    if not isinstance(criterion, str) or not criterion.isidentifier():
        raise ValueError("criterion is not a name")
    for name, value in metrics.items():
        # the value of a name with a slash is a number, except the method of an estimator
        if "/" in name and name != "estimator/method" and not is_finite_number(value):
            raise ValueError(f"{name} is not a finite number")
