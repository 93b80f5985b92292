"""Around a task: what the process prints, which folder it writes to, and how a mistake or a signal ends it."""

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from vae_lab.config.check import check
from vae_lab.errors import DiskError, Interrupted, UserError
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.summary import shown
from vae_lab.training import hardware
from vae_lab.training.signals import Interruption

log = logging.getLogger(__name__)


def rank() -> int:
    """Number of this process among those that work on the run; Lightning knows it before there is a Trainer."""
    return int(rank_zero_only.rank)  # type: ignore[attr-defined]


def in_sweep() -> bool:
    """Whether this run is one of a multirun."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def started(config: DictConfig) -> Iterator[RunFolder]:
    """Set the process up and check the config; gives the folder that Hydra made for it.

    Args:
        config: config of this command, as composed.

    Raises:
        UserError: for a mistake that the user can mend; a folder that holds nothing yet is deleted.
    """
    written = RunFolder(HydraConfig.get().runtime.output_dir)
    _quiet_lightning()
    hardware.set_up()
    try:
        check(config)
        yield written
    except UserError:
        if rank():
            sys.exit(2)  # the first process says why
        written.discard_if_empty(with_folder=config.task != "evaluate" and not config.resume)
        raise
    except OSError as error:
        raise DiskError(f"{error.filename or written.path}: {error.strerror}") from error


def alone(folder: RunFolder) -> AbstractContextManager[None]:
    """Keep other runs out of the folder; of several processes that work on one run the first does it."""
    return nullcontext() if rank() else folder.alone()


@contextmanager
def ended_by_signals(interruption: Interruption, folder: RunFolder) -> Iterator[None]:
    """End the process where a signal stopped the training inside, and say how it goes on."""
    try:
        with interruption.listening():
            yield
    except Interrupted as stop:
        # a sweep says itself how it goes on
        again = "" if in_sweep() else f"; to go on: python -m vae_lab resume={shown(folder.path)}"
        log.info("stopped %s%s", interruption.moment, again)
        sys.exit(128 + stop.number)  # as a shell counts signals


def _quiet_lightning() -> None:
    """Leave out what says nothing to a person who runs this program, and what the first process has said."""
    if rank():
        logging.getLogger().setLevel(logging.ERROR)
    # its own handler prints beside Hydra's, and the run announces itself
    logging.getLogger("lightning").handlers.clear()
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # about its own use of torch, a validation that is not wanted, and logging by step, where this program logs by epoch
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*Total length of `list` across ranks is zero.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the figures are sums over all processes
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")  # a run that goes on
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*`dataloader_iter`.*")  # training_step handles what they warn about
