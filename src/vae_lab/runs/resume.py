"""Going on with a run that was cut off: which one, with which settings, from which checkpoint.

Nothing heavy is imported here: the command line asks for the folder before torch is loaded.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import ConfigError, RunFolderError
from vae_lab.files.checks import check_folder
from vae_lab.paths import RUNS
from vae_lab.runs.folder import RunFolder, is_finished

log = logging.getLogger(__name__)

# what may be said anew of a run that goes on: where it runs
OF_RESUME = ("resume", "hydra", "data.root", "trainer.accelerator", "trainer.devices")


def folder_of(resume: str) -> str:
    """The run folder that ``resume=`` names: a path, or ``last`` for the newest run that has not finished.

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
        raise RunFolderError(
            f"resume={resume}: this run has finished; task=evaluate run_dir={resume} looks at it again"
        )
    return resume


def config_of(folder: RunFolder, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The saved config, with what the command says of where the run goes on.

    Args:
        folder: of the run.
        config: as composed for this command.
        overrides: of this command.

    Raises:
        ConfigError: if an override would change what the run is.
    """
    from vae_lab.config.settings import hold_to  # late: it takes a while to import

    hold_to(overrides, OF_RESUME, "a run goes on with its own settings, but for trainer.accelerator and data.root")
    saved = folder.read_config()
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if not key.startswith(("resume", "hydra")):
            OmegaConf.update(saved, key, OmegaConf.select(config, key))
    if saved.task != "train":
        raise ConfigError("resume", folder.path, f"is a run of task={saved.task}, which has nothing to go on with")
    return saved


def checkpoint_of(folder: RunFolder) -> Path | None:
    """The newest checkpoint that is whole; None of a run that was cut off before it wrote any.

    Raises:
        RunFolderError: if there are some and none is whole.
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
        raise RunFolderError(f"{folder.checkpoints}: no checkpoint is whole; {reasons[0]}")
    return None


def _was_cut_off(folder: Path) -> bool:
    """Whether it holds a training that did not finish, and that nobody is at work on; not where it is damaged."""
    run = RunFolder(folder)
    try:
        check_folder(folder)
        is_training = run.read_plain_config().get("task") == "train"
        return is_training and not is_finished(run.read_metrics()) and not run.is_taken
    except RunFolderError:
        return False
