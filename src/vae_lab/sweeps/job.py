"""One run of a sweep, in whichever process a launcher starts it."""

import logging
import math
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vae_lab.errors import ConfigError, UserError
from vae_lab.figures.quantities import quantity_of
from vae_lab.files.locks import locked
from vae_lab.runs.folder import criterion_name
from vae_lab.sweeps.callback import ELSEWHERE, ONE_DEVICE, is_one
from vae_lab.sweeps.folders import FAILURE, criterion_of, failure_of, metrics_of

log = logging.getLogger(__name__)


def run_of_sweep(config: DictConfig) -> float:
    """Run, unless the run finished before; the reason of a failure is kept in its folder, and the sweep continues.

    A training that finished does not change, and one that was cut off is continued. A run that failed, and every
    other task, is done again. Where another process is at work on the run, this one waits for it.

    Args:
        config: config of the run, as composed.

    Returns:
        The value of the criterion; ∞ where the run failed, which a search takes as the worst.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    locks = folder.parent / ".locks"
    locks.mkdir(exist_ok=True)
    with locked(locks / f"{folder.name}.lock", ELSEWHERE):
        metrics = metrics_of(folder)
        if metrics is not None:
            value, words = criterion_of(metrics), quantity_of(criterion_name(metrics)).name
            print(f"{folder.name}: finished before, {words} {value:.2f}", flush=True)
            return value
        try:
            return _run(config, folder)
        except UserError as error:
            reason = str(error)
            log.error("failed: %s", reason)
        except Exception as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            log.exception("failed: %s", reason)
        folder.mkdir(exist_ok=True)  # a run that could not start deleted its folder
        (folder / FAILURE).write_text(reason + "\n")
        return math.inf


def _run(config: DictConfig, folder: Path) -> float:
    if not is_one(config.trainer.devices):  # where a choice of trainer= was swept
        raise ConfigError("trainer.devices", config.trainer.devices, ONE_DEVICE)
    from vae_lab.tasks import run  # late: a sweep that is finished needs no torch

    if failure_of(folder) is not None:
        (folder / FAILURE).unlink()
        return run.run(config, again=True)
    if (folder / "config.yaml").exists():
        return run.carry_on(config) if config.task == "train" else run.run(config, again=True)
    return run.run(config)
