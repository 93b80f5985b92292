"""The folder that a command writes to.

Nothing heavy is imported here: the command line needs it before torch is loaded.
"""

from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vae_lab.errors import ConfigError, RunFolderError
from vae_lab.files.checks import check_file, check_folder
from vae_lab.paths import expanded, quoted
from vae_lab.runs.resume import folder_of

# what task=report writes into the folder of the runs
REPORT = ("run.log", "sweep.csv", "report.html", "table.md", "table.tex", "settings.pdf", "learning_curves.pdf")


class HomeFolders(Callback):
    """A callback of Hydra: ~ is the home folder in the folders that a config file names, as on the command line."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Before the folder of a run is made."""
        with suppress(OmegaConfBaseException):  # Hydra finds the same mistake, and reports it
            config.hydra.run.dir = expanded(config.hydra.run.dir)

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Before the folder of a sweep is made; the runs are composed again, from the overrides."""
        folder = config.hydra.sweep.dir
        if folder != expanded(folder):
            config.hydra.sweep.dir = expanded(folder)
            config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(expanded(folder))}")


def looks_at_run(task: str, run_dir: str | None) -> bool:
    """Whether a command looks at a finished run, and writes into its folder.

    Args:
        task: name of the task.
        run_dir: folder of the run, as the command names it.
    """
    return task in ("evaluate", "figures") or (task == "estimator_check" and bool(run_dir))


def output_dir(task: str, run_dir: str | None, sweep_dir: str | None, resume: str | None, fresh: str) -> str:
    """The folder that a command writes to: a new one, or the run or sweep that it reads.

    Args:
        task: name of the task.
        run_dir: folder of the run that the task looks at.
        sweep_dir: folder of the runs that ``task=report`` reads; it exists.
        resume: run to continue: its folder, or ``last``.
        fresh: folder of a new run.

    Raises:
        ConfigError: if there is no such task.
        RunFolderError: if the folder that the command reads is missing, or not safe to write to.
    """
    if resume:
        return folder_of(expanded(resume))
    if task == "report":
        sweep_dir = expanded(str(sweep_dir))
        for entry in Path(sweep_dir).iterdir():
            if entry.name in REPORT:
                check_file(entry)
        return sweep_dir
    if task != "explore" and not looks_at_run(task, run_dir):
        if task in ("train", "estimator_check"):
            return expanded(fresh)
        raise ConfigError("task", task, "must be train, evaluate, figures, explore, report or estimator_check")
    if not run_dir:
        raise RunFolderError(f"task={task}: needs a finished run; add run_dir=FOLDER")
    run_dir = expanded(run_dir)
    if not Path(run_dir).is_dir():
        raise RunFolderError(f"run_dir={run_dir}: there is no such folder; give the folder of a finished run")
    check_folder(Path(run_dir))
    return expanded(fresh) if task == "explore" else run_dir  # it writes nothing into the run
