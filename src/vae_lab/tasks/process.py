"""Around a task: what the process prints, which folder it writes to, and how a mistake or a signal ends it."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vae_lab.config.check import check
from vae_lab.config.replaced import leave_out_untaken
from vae_lab.errors import ConfigError, DiskError, Interrupted, UserError, unusable
from vae_lab.runs.folder import RunFolder
from vae_lab.runs.output_folder import looks_at_run
from vae_lab.runs.resume import next_step
from vae_lab.training import hardware
from vae_lab.training.noise import ignore_noise
from vae_lab.training.signals import Interruption

log = logging.getLogger(__name__)

# warnings that a run does not need, besides those of any training
OF_A_RUN = (
    ".*AMP with fp16 is not supported on CPU.*",  # it is refused
    ".*is supported for historical reasons.*",  # precision=16, precision=bf16
    ".*Total length of `list` across ranks is zero.*",  # a validation that is turned off
    ".*exists and is not empty.*",  # a resumed run
    ".*smaller than the logging interval.*",  # this program logs by epoch
)


def rank() -> int:
    """Number of this process among those that work on the run; Lightning knows it before there is a Trainer."""
    return int(rank_zero_only.rank)  # type: ignore[attr-defined]


def in_sweep() -> bool:
    """Whether this run is one of a multirun."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def runs_at_once() -> int:
    """Number of runs of this multirun that work at the same time, each in a process of its own."""
    jobs = int(HydraConfig.get().launcher.get("n_jobs", 1)) if in_sweep() else 1
    return jobs if jobs > 0 else max(1, (os.cpu_count() or 1) + 1 + jobs)  # as joblib counts: -1 is all cores


@contextmanager
def started(config: DictConfig) -> Iterator[RunFolder]:
    """Set the process up and check the config; yields the folder that Hydra made for it.

    Args:
        config: config of this command, as composed.

    Raises:
        UserError: for a mistake that the user can correct; a folder that holds nothing yet is deleted.
    """
    written = RunFolder(HydraConfig.get().runtime.output_dir)
    _quiet_lightning()
    hardware.set_up()
    try:
        leave_out_untaken(config, HydraConfig.get().overrides.task)
        check(config)
        with hardware.threads_restored():
            yield written
    except UserError:
        if rank():
            sys.exit(2)  # the first process says why
        written.discard_if_empty(with_folder=not looks_at_run(config.task, config.run_dir) and not config.resume)
        raise
    except OSError as error:
        raise DiskError(unusable(error)) from error


def alone(folder: RunFolder) -> AbstractContextManager[None]:
    """Keep other runs out of the folder; of several processes of one run, the first does it."""
    return nullcontext() if rank() else folder.alone()


@contextmanager
def claimed_or_clear(folder: RunFolder) -> Iterator[None]:
    """Take back what a run wrote that was refused before its first checkpoint, so that no folder is left."""
    is_new = not rank() and not folder.config_file.exists()
    try:
        yield
    except (ConfigError, OmegaConfBaseException, HydraException, ImportError):
        if is_new and not folder.checkpoints.exists():
            folder.clear()
        raise


@contextmanager
def ended_by_signals(interruption: Interruption, folder: RunFolder) -> Iterator[None]:
    """End the process where a signal stopped the training inside, and print how to continue."""
    try:
        with interruption.listening():
            yield
    except Interrupted as stop:
        # a sweep prints its own command
        step = None if in_sweep() else next_step(folder)
        log.info("stopped %s%s", interruption.moment, f"; to go on: python -m vae_lab {step}" if step else "")
        sys.exit(128 + stop.number)  # as a shell counts signals


def _quiet_lightning() -> None:
    """Leave out messages that users of this program do not need, or that the first process prints already."""
    if rank():
        logging.getLogger().setLevel(logging.ERROR)
    # its own handler prints beside Hydra's, and the run announces itself
    for library in ("lightning", "lightning.pytorch", "lightning.fabric"):
        logger = logging.getLogger(library)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells each table of a font that a PDF does not need
    for callback in ("early_stopping", "model_summary"):  # they speak only where the config asks for it
        logging.getLogger(f"lightning.pytorch.callbacks.{callback}").setLevel(logging.INFO)
    ignore_noise()
    for message in OF_A_RUN:
        warnings.filterwarnings("ignore", message=message)
