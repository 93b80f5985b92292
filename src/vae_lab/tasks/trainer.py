"""The Lightning Trainer of a task."""

import sys
from collections.abc import Sequence
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from lightning import Callback, Trainer
from omegaconf import DictConfig, ListConfig

from vae_lab.config.build import build
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.process import in_sweep
from vae_lab.training.checkpoints import CheckpointFiles
from vae_lab.training.progress import ProgressBar


def make_trainer(config: DictConfig, folder: RunFolder, callbacks: Sequence[Callback], loggers: bool) -> Trainer:
    """The Trainer of a config, which writes into a run folder.

    Args:
        config: config of the run.
        folder: folder of the run.
        callbacks: further callbacks, beside those of the config.
        loggers: whether the config's loggers take part.

    Raises:
        ConfigError: if the Trainer, a callback or a logger cannot be made.
    """
    named = [build(node, f"callbacks.{key}") for key, node in (config.callbacks or {}).items() if node]
    on_terminal = sys.stdout.isatty()
    trainer = build(
        config.trainer,
        "trainer",
        default_root_dir=str(folder.path),
        callbacks=[*named, *callbacks, *([ProgressBar()] if on_terminal else [])],
        logger=[
            build(node, f"logger.{key}", save_dir=str(folder.path))
            for key, node in (config.logger or {}).items()
            if node and loggers
        ],
        plugins=[CheckpointFiles()],
        devices=devices_of_run(config.trainer),
        enable_progress_bar=on_terminal,
        gradient_clip_val=None,  # the module has it: the trainer clips only where it makes the steps itself
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    assert isinstance(trainer, Trainer)
    return trainer


def devices_of_run(trainer: DictConfig) -> Any:
    """What the Trainer gets as ``devices``: the runs of a sweep take the GPUs in turn, by their number.

    Args:
        trainer: config of the Trainer. A list of devices is left as it is, and so is a run that is no part of a sweep.
    """
    gpus = torch.cuda.device_count()
    if not in_sweep() or trainer.accelerator == "cpu" or gpus < 2:
        return trainer.devices
    return trainer.devices if isinstance(trainer.devices, ListConfig) else [HydraConfig.get().job.num % gpus]
