"""Continuing a run that was cut off: which one, and from which checkpoint.

Nothing heavy is imported here: the command line needs the folder before torch is loaded.
"""

import logging
from pathlib import Path

from vae_lab.errors import RunFolderError
from vae_lab.files.checks import check_folder
from vae_lab.paths import RUNS, argument
from vae_lab.runs.folder import RunFolder, is_finished

log = logging.getLogger(__name__)


def folder_of(resume: str) -> str:
    """The run folder that ``resume=`` names.

    Args:
        resume: path of the folder, or ``last`` for the newest run that has not finished.

    Raises:
        RunFolderError: if there is no such run, or it finished.
    """
    if resume == "last":
        cut_off = [file.parent for file in RUNS.glob("*/config.yaml") if _was_cut_off(file.parent)]
        if not cut_off:
            raise RunFolderError(f"resume=last: {RUNS} holds no run that was cut off; name its folder: resume=FOLDER")
        return str(max(cut_off, key=lambda folder: max(file.stat().st_mtime for file in folder.rglob("*"))))
    if not Path(resume).is_dir():
        raise RunFolderError(f"resume={resume}: there is no such folder; give the folder of a run, or last")
    check_folder(Path(resume))
    if is_finished(RunFolder(resume).read_metrics()):
        again = f"task=evaluate {argument('run_dir', resume)}"
        longer = f"{argument('again', resume)} {argument('init_from', resume)} trainer.max_epochs=N"
        reason = "this run has finished, and so has its learning-rate schedule"
        remedy = f"{longer} trains on from its best weights, in a new run with a schedule of its own; {again} tests it"
        raise RunFolderError(f"resume={resume}: {reason}; {remedy} again")
    return resume


def next_step(folder: RunFolder) -> str | None:
    """The arguments of a command that works on a run that is there; None where there is no such command.

    Args:
        folder: folder of the run.
    """
    try:
        is_training = folder.read_plain_config().get("task") == "train"
        finished = is_finished(folder.read_metrics())
    except RunFolderError:
        return None
    where = folder.path.relative_to(Path.cwd()) if folder.path.is_relative_to(Path.cwd()) else folder.path
    if finished:
        return f"task=evaluate {argument('run_dir', where)}"
    return argument("resume", where) if is_training else None


def checkpoint_of(folder: RunFolder) -> Path | None:
    """The newest undamaged checkpoint; None where the run was cut off before it wrote any.

    Args:
        folder: folder of the run.

    Raises:
        RunFolderError: if all checkpoints are damaged.
    """
    there = [file for file in (folder.last, folder.best) if file.exists()]
    reasons = []
    for file in there:
        try:
            folder.read_checkpoint(file)
        except RunFolderError as error:
            log.warning("%s; falling back to the one before", error)
            reasons.append(str(error))
        else:
            return file
    if reasons:
        raise RunFolderError(f"{folder.checkpoints}: all checkpoints are damaged; {reasons[0]}")
    return None


def _was_cut_off(folder: Path) -> bool:
    """Whether it holds an undamaged training that did not finish, and that no process works on."""
    run = RunFolder(folder)
    try:
        check_folder(folder)
        is_training = run.read_plain_config().get("task") == "train"
        return is_training and not is_finished(run.read_metrics()) and not run.is_taken
    except RunFolderError:
        return False
