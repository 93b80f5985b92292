"""Checkpoints of a run: which are kept, and how they are written."""

import hashlib
import time
from pathlib import Path
from typing import Annotated, Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from pydantic import Field
from torch import Tensor

from vae_lab.annotations import Positive
from vae_lab.files.atomic import replacing
from vae_lab.training.module import Training


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint beside the previous one, and then replaces that."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save one checkpoint, with the SHA-256 of the run's config, which says which model the weights belong to.

        Raises:
            DiskError: if the disk is full, or the folder is missing or not writable.
        """
        assert storage_options is None
        file = Path(path)
        run = file.parent.parent
        if run.is_dir():  # without the run folder there is no run
            file.parent.mkdir(exist_ok=True)
        config = run / "config.yaml"
        if config.is_file():
            checkpoint["config_sha256"] = hashlib.sha256(config.read_bytes()).hexdigest()
        with replacing(file) as content:
            torch.save(checkpoint, content)


class _Checkpoint(ModelCheckpoint):
    """A file of the run folder's ``checkpoints/``, written at the end of an epoch."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder."""
        self.dirpath = f"{trainer.default_root_dir}/checkpoints"
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore which file is the best, with paths in this folder: the run may have been moved."""
        state = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = self._here(state[name])
        state["best_k_models"] = {self._here(path): value for path, value in state["best_k_models"].items()}
        super().load_state_dict(state)

    def _here(self, path: str) -> str:
        return f"{self.dirpath}/{Path(path).name}" if path else path


class BestCheckpoint(_Checkpoint):
    """Keeps ``best.ckpt``, the epoch with the lowest criterion, of validation or, without validation, of training."""

    def __init__(self) -> None:
        super().__init__(
            filename="best", monitor="criterion", save_on_train_epoch_end=True, enable_version_counter=False
        )

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder and the model's criterion."""
        assert isinstance(pl_module, Training)
        self.monitor = pl_module.model.criterion  # its name in the state of this callback too, in every checkpoint
        super().setup(trainer, pl_module, stage)

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | None = None) -> bool:
        """Whether this epoch is the best; the first that is validated is, since the others have figures of training."""
        module = trainer.lightning_module
        is_first = isinstance(module, Training) and module.is_first_validated
        return is_first or super().check_monitor_top_k(trainer, current)


class LastCheckpoint(_Checkpoint):
    """Keeps ``last.ckpt``: the latest epoch, or a moment within it, from which a run that was cut off continues.

    Args:
        every_n_minutes: largest age of the file within an epoch, in minutes.
        every_n_steps: largest age of the file in optimiser steps, rounded up to whole calls of training_step.
    """

    def __init__(
        self, every_n_minutes: Positive | None = 5.0, every_n_steps: Annotated[int, Field(ge=1)] | None = None
    ) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.every_n_minutes, self.every_n_steps = every_n_minutes, every_n_steps
        self.saved_at, self.saved_step = time.monotonic(), 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save within an epoch, when it is due."""
        minutes, steps = (time.monotonic() - self.saved_at) / 60, trainer.global_step - self.saved_step
        due = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        due = due or (self.every_n_steps is not None and steps >= self.every_n_steps)
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save_checkpoint(trainer, f"{self.dirpath}/last.ckpt")

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
