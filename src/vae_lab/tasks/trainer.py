"""The Lightning Trainer of a task."""

import inspect
import sys
from collections.abc import Sequence
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import ProgressBar as AnyProgressBar
from lightning.pytorch.profilers import AdvancedProfiler, Profiler, SimpleProfiler
from omegaconf import DictConfig, ListConfig, OmegaConf

from vae_lab.config.build import build
from vae_lab.config.trainer_arguments import OURS
from vae_lab.errors import ConfigError
from vae_lab.figures.style import Form
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.process import in_sweep
from vae_lab.training.checkpoints import CheckpointFiles
from vae_lab.training.figures import FigureCallback
from vae_lab.training.progress import EpochLines, ProgressBar, in_notebook


def make_trainer(config: DictConfig, folder: RunFolder, callbacks: Sequence[Callback], loggers: bool) -> Trainer:
    """The Trainer of a config, which writes into a run folder.

    Args:
        config: config of the run.
        folder: folder of the run.
        callbacks: further callbacks, besides those of the config.
        loggers: whether the config's loggers are used.

    Raises:
        ConfigError: if the Trainer, a callback or a logger cannot be made.
    """
    named = _callbacks(config)
    progress, has_bar = _progress(config.trainer, named)
    trainer = build(
        OmegaConf.masked_copy(config.trainer, [name for name in config.trainer if name not in OURS]),
        "trainer",
        default_root_dir=str(folder.path),
        callbacks=[*named, *callbacks, *progress],
        logger=[
            build(node, f"logger.{key}", **_place(node, folder))
            for key, node in (config.logger or {}).items()
            if node and loggers
        ],
        plugins=[CheckpointFiles()],
        devices=devices_of_run(config.trainer),
        strategy="auto" if config.trainer.strategy == "single_device" else config.trainer.strategy,
        enable_progress_bar=has_bar,
        gradient_clip_val=None,  # the module has it: the trainer clips only where it makes the steps itself
        enable_model_summary=bool(config.trainer.get("enable_model_summary")),
        num_sanity_val_steps=0,
        max_time=None,  # the clock has it: Lightning would drop it beside a clock
        profiler=_profiler(config.trainer.get("profiler"), folder),
    )
    assert isinstance(trainer, Trainer)
    _check_made(config.trainer, trainer)
    return trainer


def form_of(config: DictConfig) -> Form:
    """How the figures of a run are saved; a run of an earlier version does not say it.

    Args:
        config: config of the run.
    """
    settings = config.get("figures") or {}
    return Form(**{name: settings[name] for name in Form._fields if name in settings})


def _callbacks(config: DictConfig) -> list[Callback]:
    """The callbacks that a config names; of those that draw only the chosen ones.

    Raises:
        ConfigError: if one that is chosen does not draw.
    """
    found = {str(key): build(node, f"callbacks.{key}") for key, node in (config.callbacks or {}).items() if node}
    drawing = {name: callback for name, callback in found.items() if isinstance(callback, FigureCallback)}
    for callback in drawing.values():
        callback.form = form_of(config)
    only = (config.get("figures") or {}).get("only")
    if only is None:
        return list(found.values())
    for name in only:
        if name not in drawing:
            reason = f"no callback {name} draws; there are {', '.join(drawing) or 'none'}"
            raise ConfigError("figures.only", list(only), reason)
    return [callback for name, callback in found.items() if name in only or name not in drawing]


def _place(node: DictConfig, folder: RunFolder) -> dict[str, str]:
    """The argument ``save_dir`` for a logger that takes it: the run folder."""
    return (
        {"save_dir": str(folder.path)} if "save_dir" in inspect.signature(get_class(node._target_)).parameters else {}
    )


def _progress(trainer: DictConfig, named: Sequence[Callback]) -> tuple[list[Callback], bool]:
    """The callbacks that show progress beside those that the config names, and whether there is a bar."""
    has_own = any(isinstance(callback, AnyProgressBar) for callback in named)
    if trainer.get("enable_progress_bar") is False:
        if has_own:
            raise ConfigError("trainer.enable_progress_bar", False, "callbacks name a progress bar; leave out one")
        return [], False
    if not (sys.stdout.isatty() or in_notebook()):
        return [EpochLines()], has_own
    return [] if has_own else [ProgressBar()], True


def _profiler(name: str | None, folder: RunFolder) -> Profiler | None:
    """The profiler of a name, which writes into the run folder: Lightning's own would print where nobody reads."""
    kinds = {"simple": SimpleProfiler, "advanced": AdvancedProfiler}
    return kinds[name](dirpath=str(folder.path), filename="profile") if name else None


def _check_made(asked: DictConfig, trainer: Trainer) -> None:
    """Refuse what Lightning replaces by something else.

    Args:
        asked: config of the Trainer.
        trainer: Trainer that was made of it.

    Raises:
        ConfigError: names the key.
    """
    if asked.strategy == "single_device" and trainer.world_size > 1:
        reason = f"works on one device, and trainer.devices={asked.devices} means {trainer.world_size}; use ddp"
        raise ConfigError("trainer.strategy", asked.strategy, reason)
    if str(asked.precision) in ("16-mixed", "16") and trainer.precision != "16-mixed":
        raise ConfigError("trainer.precision", asked.precision, "needs a GPU; on a CPU use bf16-mixed or 32-true")


def devices_of_run(trainer: DictConfig) -> Any:
    """What the Trainer gets as ``devices``: the runs of a sweep take the GPUs in turn, by their number.

    Args:
        trainer: config of the Trainer. A list of devices does not change, nor does a run outside a sweep.
    """
    gpus = torch.cuda.device_count()
    if not in_sweep() or trainer.accelerator == "cpu" or gpus < 2:
        return trainer.devices
    return trainer.devices if isinstance(trainer.devices, ListConfig) else [HydraConfig.get().job.num % gpus]
