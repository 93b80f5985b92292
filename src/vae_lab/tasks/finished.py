"""A finished run in the hands of another command: its model, its data, and where they are computed."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.build import build_data
from vae_lab.config.saved import read_for_command, read_model, take_place_of_data
from vae_lab.config.settings import key_of
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError
from vae_lab.models import Model
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.process import in_sweep
from vae_lab.tasks.start import set_matmul
from vae_lab.tasks.trainer import make_trainer
from vae_lab.training import hardware

# overrides that may come with every task that looks at a finished run
WHERE = ("task", "run_dir", "trust", "data.root", "data.file", "figures", "hydra", "threads")


class Finished(NamedTuple):
    """The model of a run, its data, not yet read, and a Trainer that says on which device they go."""

    model: Model
    data: ImageDataModule
    trainer: Trainer

    def set_up(self) -> None:
        """Read the data, onto the device."""
        self.data.prepare_data()
        self.data.trainer = self.trainer
        self.data.setup()

    def to_device(self) -> None:
        """Put the model on the device, in evaluation mode, in float32."""
        self.model.to(self.trainer.strategy.root_device, torch.float32).eval()


def read_for_task(
    config: DictConfig, folder: RunFolder, overrides: Sequence[str], also: Sequence[str], reason: str
) -> tuple[DictConfig, list[str]]:
    """The saved config of a run, and a command's overrides without the run's own choice of data.

    Args:
        config: config of the command.
        folder: folder of the run.
        overrides: overrides of the command.
        also: keys and groups that the command may name beside those of every such task.
        reason: what is told where it names others.

    Raises:
        UserError: if it does, or the folder is not that of a run.
    """
    of_sweep = ("sweep_dir",) if in_sweep() else ()  # names the sweep whose runs the command goes through
    return read_for_command(folder, config.trust, overrides, (*WHERE, *also, *of_sweep), reason)


def config_for(config: DictConfig, saved: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The saved config of a run, with a command's settings of where it is computed and how its figures are saved.

    Args:
        config: config of the command.
        saved: config of the run.
        overrides: overrides of the command. The format and the resolution of figures are the run's unless these name
            others.
    """
    named, before = [key_of(override) for override in overrides], saved.get("figures") or {}
    kept = {name: before[name] for name in ("format", "dpi") if name in before and f"figures.{name}" not in named}
    saved = saved.copy()
    saved.trainer = config.trainer
    take_place_of_data(saved, config, overrides)
    saved.figures = OmegaConf.merge(config.figures, kept)
    return saved


def open_run(config: DictConfig, saved: DictConfig, folder: RunFolder) -> Finished:
    """A finished run on the device that a command names.

    Args:
        config: config of the command.
        saved: config of the run, as ``config_for`` gives it.
        folder: folder of the run.

    Raises:
        UserError: if a file is missing or damaged, or several devices are named.
    """
    model, data = read_model(folder, saved), build_data(saved)  # in this order: a refusal names the folder's file
    hardware.set_threads(config.threads)
    set_matmul(saved, model)
    trainer = make_trainer(saved, folder, [], loggers=False)
    if trainer.world_size > 1:
        reason = "a finished run is computed on one device; use 1"
        raise ConfigError("trainer.devices", config.trainer.devices, reason)
    return Finished(model, data, trainer)
