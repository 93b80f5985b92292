"""Loggers of other tools, which extras install. Each keeps what it has of a run in the run folder."""

import contextlib
import importlib
import io
import logging
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from vae_lab.errors import ConfigError, reason_of
from vae_lab.files.atomic import replace_file
from vae_lab.files.checks import read_text
from vae_lab.training.loggers.base import RunLogger, is_of_test

log = logging.getLogger(__name__)


class WandB(RunLogger, WandbLogger):
    """Weights & Biases: figures by epoch, pictures, settings and results; the run's name is that of its folder.

    Args:
        save_dir: path of the run folder; the files are in ``wandb`` there.
        project: name of the project.
        offline: whether nothing is sent; ``wandb sync`` does it later. ``WANDB_MODE=offline`` means the same.
    """

    def __init__(self, save_dir: str, project: str = "vae_lab", offline: bool = False) -> None:
        importlib.import_module("wandb")  # Lightning's own error does not name the package
        self.folder = Path(save_dir).absolute()
        super().__init__(
            name=self.folder.name,
            save_dir=str(self.folder),
            project=project,
            id=_id_of(self.folder, "wandb"),
            mode="offline" if offline else None,
        )

    @property
    def experiment(self) -> Any:
        """The run of W&B, which begins when it is first asked for.

        Raises:
            ConfigError: if W&B does not let it begin.
        """
        is_new = self._experiment is None
        try:
            run = super().experiment
        except importlib.import_module("wandb").Error as error:
            reason = f"W&B does not begin a run ({reason_of(error)}); use 'wandb login', or logger.wandb.offline=true"
            raise ConfigError("logger.wandb.project", self._project, reason) from error
        if is_new and self._experiment is not None:
            _keep_id(self.folder, "wandb", self._experiment.id)
        return run

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the figures by epoch; those of a test come with the results."""
        if not is_of_test(metrics):
            super().log_metrics(metrics, step)

    @rank_zero_only
    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], epoch: int) -> None:  # noqa: ARG002
        """Put the results into the summary."""
        self.experiment.summary.update(dict(results))

    @rank_zero_only
    def close(self, failed: bool) -> None:
        """End the run, without the links that W&B makes: a run folder holds plain files, and can be moved."""
        if self._experiment is None:
            return
        self._experiment.finish(exit_code=int(failed))
        for entry in (self.folder / "wandb").rglob("*"):
            if entry.is_symlink():
                entry.unlink()


class MLflow(RunLogger, MLFlowLogger):
    """MLflow: figures by epoch, pictures, settings and results; the run's name is that of its folder.

    Args:
        save_dir: path of the run folder; the files are in ``mlruns`` there, unless ``MLFLOW_TRACKING_URI`` is set.
        experiment: name of the experiment.
    """

    def __init__(self, save_dir: str, experiment: str = "vae_lab") -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a store of one run needs no database
        importlib.import_module("mlflow")  # Lightning's own error does not name the package
        logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # that it makes the experiment
        self.folder = Path(save_dir).absolute()
        super().__init__(
            experiment_name=experiment,
            run_name=self.folder.name,
            tracking_uri=os.environ.get("MLFLOW_TRACKING_URI") or (self.folder / "mlruns").as_uri(),
            run_id=_id_of(self.folder, "mlruns"),
        )

    @rank_zero_only
    def log_config(self, config: str) -> None:
        """Keep the config beside the figures."""
        self.experiment.log_text(self.run_id, config, "config.yaml")
        _keep_id(self.folder, "mlruns", str(self.run_id))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the figures by epoch; those of a test come with the results."""
        if not is_of_test(metrics):
            super().log_metrics(metrics, step)

    @rank_zero_only
    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], epoch: int) -> None:  # noqa: ARG002
        """Log the results at the last epoch."""
        super().log_metrics(results, epoch)

    @rank_zero_only
    def finalize(self, status: str = "success") -> None:
        """Nothing: the test after training belongs to the run, which ``close`` ends."""

    @rank_zero_only
    def close(self, failed: bool) -> None:
        """End the run."""
        super().finalize("failed" if failed else "success")


class Trackio(RunLogger, Logger):
    """trackio: figures by epoch, pictures, settings and results; the run's name is that of its folder.

    Args:
        save_dir: path of the run folder; the files are in ``trackio`` there, unless ``TRACKIO_DIR`` is set.
        project: name of the project.
    """

    name = "trackio"
    version = ""

    def __init__(self, save_dir: str, project: str = "vae_lab") -> None:
        super().__init__()
        self.folder, self.project = Path(save_dir).absolute(), project
        self.trackio = _trackio_in(self.folder / "trackio")
        self.run: Any = None

    def experiment(self, settings: Mapping[str, Any] | None = None) -> Any:
        """The run of trackio, which begins when it is first asked for.

        Args:
            settings: value of each setting of a new run.
        """
        if self.run is None:
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                self.run = self.trackio.init(
                    self.project,
                    name=self.folder.name,
                    config=dict(settings or {}),
                    resume="allow",
                    embed=False,
                    auto_log_cpu=False,
                    auto_log_gpu=False,
                )
            log.debug(said.getvalue())
        return self.run

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Begin the run with its settings."""
        self.experiment(params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the figures by epoch; those of a test come with the results."""
        if not is_of_test(metrics):
            self.experiment().log(dict(metrics), step=step)

    @rank_zero_only
    def log_image(self, key: str, images: list[Any], step: int | None = None) -> None:
        """Log pictures.

        Args:
            key: name of the pictures.
            images: pixels of each, (height, width, 3), uint8.
            step: number of epochs that the run has taken.
        """
        for image in images:
            self.experiment().log({key: self.trackio.Image(image)}, step=step)

    @rank_zero_only
    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], epoch: int) -> None:  # noqa: ARG002
        """Log the results at the last epoch."""
        self.experiment().log(dict(results), step=epoch)

    @rank_zero_only
    def close(self, failed: bool) -> None:  # noqa: ARG002
        """Write what is left, and end the thread that does it."""
        if self.run is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self.trackio.finish()
            self.run = None


def _trackio_in(folder: Path) -> ModuleType:
    """The package, writing into a folder, unless the user's environment names one."""
    if "TRACKIO_DIR" in os.environ:
        return importlib.import_module("trackio")
    for name in [name for name, module in sys.modules.items() if module and name.partition(".")[0] == "trackio"]:
        del sys.modules[name]  # it reads its folder when it is imported, and each run of a sweep has its own
    os.environ["TRACKIO_DIR"] = str(folder)
    try:
        return importlib.import_module("trackio")
    finally:
        del os.environ["TRACKIO_DIR"]


def _id_of(folder: Path, service: str) -> str | None:
    """The name that a service has given to a run that continues; None for a new run."""
    file = folder / f".{service}_id"
    try:
        found = read_text(file, 1000).strip()
    except FileNotFoundError:
        return None
    return found if re.fullmatch(r"[\w-]+", found) else None


def _keep_id(folder: Path, service: str, name: str) -> None:
    """Keep the name that a service has given to a run, so that it continues there too."""
    replace_file(folder / f".{service}_id", name + "\n")
