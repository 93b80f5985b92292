"""The folder that a command writes to.

Nothing heavy is imported here: the command line asks before torch is loaded.
"""

from pathlib import Path

from vae_lab.errors import ConfigError, RunFolderError
from vae_lab.files.checks import check_file, check_folder
from vae_lab.runs.resume import folder_of

REPORT = ("run.log", "sweep.csv", "report.html")  # what task=report writes into the folder of the runs


def output_dir(task: str, run_dir: str | None, sweep_dir: str | None, resume: str | None, fresh: str) -> str:
    """The folder that a command writes to: a fresh one, or the run or sweep that it looks at again.

    Args:
        task: what the command does.
        run_dir: folder of the run that ``task=evaluate`` looks at.
        sweep_dir: folder of the runs that ``task=report`` reads; it is there.
        resume: the run that goes on: its folder, or ``last``.
        fresh: folder of a new run.

    Raises:
        ConfigError: if there is no such task.
        RunFolderError: if the folder that the command looks at is missing, or must not be written to.
    """
    if resume:
        return folder_of(resume)
    if task in ("train", "estimator_check"):
        return fresh
    if task == "report":
        for entry in Path(str(sweep_dir)).iterdir():
            if entry.name in REPORT:
                check_file(entry)
        return str(sweep_dir)
    if task != "evaluate":
        raise ConfigError("task", task, "must be train, evaluate, report or estimator_check")
    if not run_dir:
        raise RunFolderError(f"task={task}: needs a finished run; add run_dir=FOLDER")
    if not Path(run_dir).is_dir():
        raise RunFolderError(f"run_dir={run_dir}: there is no such folder; give the folder of a finished run")
    check_folder(Path(run_dir))
    return run_dir
