"""A run folder: the files of one run, where they lie, and the model that they hold.

What a sweep's report reads of a run needs no torch, so that it is imported only where a model is.
"""

import csv
import hashlib
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import ConfigError, ModelSizeError, NonFiniteError, RunFolderError, reason_of
from vae_lab.files import checks as trust
from vae_lab.files.atomic import replace_file

if TYPE_CHECKING:
    from vae_lab.models.vae import VAE

LARGEST_TABLE = 50_000_000  # bytes of metrics.json or metrics.csv: 100,000 epochs and more
BESIDE_THE_WEIGHTS = 2**28  # bytes that building a model may take beside them, for masks and the like


def is_finite_number(value: Any) -> bool:
    """Whether a value of a file is a figure that can be drawn and compared."""
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def is_finished(metrics: Mapping[str, Any]) -> bool:
    """Whether these are the figures of a run that came to its end: the test is the last that it does."""
    return "test/nelbo" in metrics


class RunFolder:
    """The files of one run; nothing in them names the folder, so it can be moved.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.metrics_file = self.path / "metrics.json"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint with the best NELBO."""
        return self.checkpoints / "best.ckpt"

    @property
    def last(self) -> Path:
        """The latest checkpoint."""
        return self.checkpoints / "last.ckpt"

    def discard_if_empty(self, with_folder: bool = True) -> None:
        """Take the log away where nothing else was written yet, and the folder with it if it is this program's own."""
        log = self.path / "run.log"
        if not self.path.is_dir():
            return
        if {entry.name for entry in self.path.iterdir()} <= {log.name}:
            log.unlink(missing_ok=True)
            if with_folder and self.path.resolve() != Path.cwd():
                self.path.rmdir()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            RunFolderError: if another process is at work on the run.
        """
        file = self.path / ".lock"
        lock = FileLock(file, blocking=False)
        try:
            lock.acquire()
        except Timeout as error:
            reason = "another process is at work on this run; wait for it, or name another folder"
            raise RunFolderError(f"{self.path}: {reason}") from error
        try:
            yield
        finally:
            file.unlink(missing_ok=True)
            lock.release()

    @property
    def is_taken(self) -> bool:
        """Whether a process is at work on the run."""
        try:
            with self.alone():
                return False
        except RunFolderError:
            return True

    def clear(self) -> None:
        """Delete what a run that did not finish left behind; its log stays, and what is not this program's."""
        for folder in (self.figures, self.checkpoints):
            if folder.exists():
                shutil.rmtree(folder)
        for file in (self.config_file, self.metrics_file, self.path / "metrics.csv", *self.path.glob("events.out.*")):
            file.unlink(missing_ok=True)

    def write_config(self, config: DictConfig) -> None:
        """Save the config with every interpolation resolved, and so claim the folder for this run.

        Raises:
            ConfigError: if another run has claimed it, be it at this moment.
        """
        try:
            with self.config_file.open("x", encoding="utf-8") as file:
                file.write(OmegaConf.to_yaml(config, resolve=True))
        except FileExistsError as error:
            raise ConfigError("hydra.run.dir", self.path, "holds a run already; name another folder") from error

    def config_digest(self) -> str:
        """SHA-256 of ``config.yaml``, which each checkpoint carries: it says what its weights are the weights of."""
        return hashlib.sha256(self.config_file.read_bytes()).hexdigest()

    def read_config(self) -> DictConfig:
        """The config of the run, held to allowed targets and values.

        Raises:
            RunFolderError: if it is missing, unreadable, or names what no config of ours would.
        """
        from vae_lab.config.build import check

        config = self.read_plain_config()
        try:
            check(config)
        except ConfigError as error:
            raise RunFolderError(f"{self.config_file}: {error}") from error
        return config

    def read_plain_config(self) -> DictConfig:
        """The config of the run as it is written: to be shown, not to build objects from.

        Raises:
            RunFolderError: if it is missing or unreadable.
        """
        try:
            return trust.read_config(self.config_file)
        except FileNotFoundError as error:
            raise RunFolderError(f"{self.path}: no config.yaml in it; give the folder of a finished run") from error

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Save the figures of the run as one flat object.

        Raises:
            NonFiniteError: if one of them is none, so that nobody takes it for a result.
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
            metrics = json.loads(trust.read_text(self.metrics_file, LARGEST_TABLE))
        except FileNotFoundError:
            return {}
        except (ValueError, RecursionError) as error:
            raise RunFolderError(f"{self.metrics_file}: damaged ({error}); delete it and evaluate again") from error
        if not isinstance(metrics, dict):
            raise RunFolderError(f"{self.metrics_file}: damaged (it holds no names); delete it and evaluate again")
        for name, value in metrics.items():
            # what a name with a slash measures is a number, but for the method of an estimator
            if "/" in name and name != "estimator/method" and not is_finite_number(value):
                reason = f"{name} is no finite number"
                raise RunFolderError(f"{self.metrics_file}: damaged ({reason}); delete it and evaluate again")
        return metrics

    def read_history(self) -> list[dict[str, float]]:
        """The figures of each epoch; empty where the run kept no ``metrics.csv``.

        Raises:
            RunFolderError: if the file is damaged.
        """
        file = self.path / "metrics.csv"
        try:
            text = trust.read_text(file, LARGEST_TABLE)
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
            raise RunFolderError(f"{file}: damaged ({error}); delete it to go on without the history") from error

    def read_model(self, config: DictConfig) -> "VAE":
        """The trained model, with its history.

        Args:
            config: of this run.

        Raises:
            RunFolderError: if a file is missing or damaged, or the config describes a model that is larger than what
                the checkpoint can hold.
        """
        from vae_lab.config.build import build_model

        checkpoint = self.read_checkpoint(self.best)
        try:
            model = build_model(config, self.best.stat().st_size + BESIDE_THE_WEIGHTS)
        except (ConfigError, ModelSizeError) as error:
            raise RunFolderError(f"{self.config_file}: {error}") from error
        self._fill(model, checkpoint)
        model.history = self.read_history()
        return model

    def load_weights(self, model: "VAE") -> None:
        """Load the best checkpoint's weights into a model.

        Raises:
            RunFolderError: if there is no checkpoint, it is damaged or of another model, or the config was changed.
        """
        self._fill(model, self.read_checkpoint(self.best))

    def read_checkpoint(self, file: Path) -> dict[str, Any]:
        """The content of one of this run's checkpoints.

        Raises:
            RunFolderError: if it is missing or damaged, or the config was changed after it.
        """
        from vae_lab.training import checkpoints

        checkpoint = checkpoints.read(file)
        digest = self.config_digest()
        if checkpoint.get("config_sha256", digest) != digest:
            raise RunFolderError(
                f"{self.config_file}: was changed after {file.name} was written, which may belong to another "
                "model; put the original back"
            )
        return checkpoint

    def _fill(self, model: "VAE", checkpoint: dict[str, Any]) -> None:
        try:
            model.load_state_dict(checkpoint["state_dict"])
        except (KeyError, RuntimeError, TypeError, AttributeError, ValueError) as error:
            reason = reason_of(error)
            raise RunFolderError(f"{self.best}: of another model than config.yaml says ({reason})") from error


def load(run_dir: Path | str) -> "VAE":
    """The trained model of a run, on the CPU, in evaluation mode.

    Args:
        run_dir: folder of a finished run. Its files are data: nothing in them is executed.

    Raises:
        RunFolderError: if a file is missing or damaged.
    """
    folder = RunFolder(run_dir)
    if not folder.path.is_dir():
        raise RunFolderError(f"{run_dir}: there is no such folder; give the folder of a finished run")
    return folder.read_model(folder.read_config()).eval()
