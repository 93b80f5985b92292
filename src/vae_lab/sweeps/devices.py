"""Which device a run of a sweep gets."""

from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig


def devices_of_run(trainer: DictConfig) -> Any:
    """What the Trainer gets as ``devices``: the runs of a sweep go round the GPUs, by their number.

    Args:
        trainer: its config. A list of devices is left as it is, and so is a run that is no part of a sweep.
    """
    hydra = HydraConfig.get()
    gpus = torch.cuda.device_count()
    if hydra.mode != RunMode.MULTIRUN or trainer.accelerator == "cpu" or gpus < 2:
        return trainer.devices
    return trainer.devices if isinstance(trainer.devices, ListConfig) else [hydra.job.num % gpus]
