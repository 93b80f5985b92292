"""Which task a command is, and which folder it works in."""

import logging

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.saved import config_of_resumed, read_config
from vae_lab.config.trust import packages_of
from vae_lab.errors import RunFolderError, UserError
from vae_lab.runs.folder import RunFolder
from vae_lab.runs.output_folder import output_dir
from vae_lab.runs.resume import checkpoint_of
from vae_lab.tasks.estimator_check import estimator_check
from vae_lab.tasks.evaluate import evaluate
from vae_lab.tasks.explore import explore
from vae_lab.tasks.figures import figures
from vae_lab.tasks.process import alone, claimed_or_clear, in_sweep, rank, started
from vae_lab.tasks.summary import shown
from vae_lab.tasks.train import train

log = logging.getLogger(__name__)

IN_PYTHON = (
    "run belongs to the command line, where Hydra gives each run its folder; in Python, put a model and a loss into "
    "vae_lab.Training and train it with a Lightning Trainer, as docs/python.md says"
)


def run(config: DictConfig, again: bool = False) -> float:
    """Do what ``task`` says; returns the figure that a sweep compares.

    Args:
        config: config of this command, as composed.
        again: whether to delete what a run that did not finish left in this folder.

    Raises:
        UserError: for a mistake that the user can correct; a folder that holds nothing yet is deleted.
    """
    if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().runtime, "output_dir"):
        raise UserError(IN_PYTHON)
    overrides = list(HydraConfig.get().overrides.task)
    with started(config) as written:
        folder = written
        if not rank():
            # checked again: a multirun and an explicit hydra.run.dir skip the check inside hydra.run.dir
            where = output_dir(config.task, config.run_dir, config.sweep_dir, config.resume, str(written.path))
            folder = RunFolder(where)
        with alone(folder), claimed_or_clear(folder):
            if again:
                written.clear()
            if config.resume:
                return go_on(config_of_resumed(folder, config, overrides), folder)
            named = (train, evaluate, figures, explore, estimator_check)
            tasks = {task.__name__: task for task in named}
            return tasks[config.task](config, folder, overrides)


def go_on(config: DictConfig, folder: RunFolder) -> float:
    """Continue a run that was cut off, from its newest checkpoint, or from the beginning where it has none.

    Args:
        config: saved config of the run.
        folder: folder of the run.
    """
    checkpoint, overrides = checkpoint_of(folder), folder.read_overrides()
    if checkpoint is None:
        if config.get("init_from") and not in_sweep():  # a path that a folder says is not followed
            reason = "this run was cut off before its first checkpoint; start it again, with init_from=FOLDER"
            raise RunFolderError(f"resume={folder.path}: {reason}")
        log.info("%s holds no checkpoint yet: from the beginning", shown(folder.path))
        folder.clear()
    return train(config, folder, overrides, checkpoint)


def carry_on(config: DictConfig) -> float:
    """Continue the run of a sweep that was cut off, in its folder.

    Args:
        config: config of the run, as composed.
    """
    with started(config) as folder, alone(folder):
        before = read_config(folder, packages_of(OmegaConf.to_container(config)))
        config.matmul, config.threads = before.matmul, before.get("threads", "auto")  # as before the run was cut off
        return go_on(config, folder)
