"""What the arguments and callbacks of a Trainer ask of the training: what they need, and what it cannot give them."""

import warnings
from collections.abc import Callable, Iterable
from typing import Any

from lightning import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BatchSizeFinder,
    GradientAccumulationScheduler,
    LearningRateFinder,
    LearningRateMonitor,
    ModelCheckpoint,
    StochasticWeightAveraging,
)
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.model_helpers import is_overridden

from vae_lab.errors import UserError

OF_BATCHES = ("on_train_batch_start", "on_train_batch_end")
OF_TRANSFER = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
# their callbacks serve as well after several batches: figures, bars, clocks, signals, checkpoints by age
PATIENT = ("vae_lab.", "lightning.pytorch.callbacks.progress.", "lightning.pytorch.callbacks.timer")

EVERY_BATCH = "every batch is one optimiser step here; use a larger batch_size in the data"
BY_TIME = "would write nothing here; use vae_lab.training.callbacks.LastCheckpoint(every_n_minutes=…)"
INSTEAD: dict[type[Callback], str] = {
    GradientAccumulationScheduler: EVERY_BATCH,
    StochasticWeightAveraging: "it would replace the learning-rate schedule within the run; WeightAveraging serves",
    BackboneFinetuning: "no model here has a backbone; derive a callback of your own from BaseFinetuning",
    BatchSizeFinder: "no other size can be tried within a fit here; set batch_size of the data",
    LearningRateFinder: "the learning rate is the optimiser's: Training(…, optimizer=lambda p: Adam(p, lr=…))",
}


def is_followed(trainer: Trainer) -> bool:
    """Whether something follows the training batch by batch: then each call of training_step is one step.

    Args:
        trainer: Trainer that is about to fit.
    """
    interval = getattr(trainer, "val_check_interval", None)  # missing where it is a time
    by_batches = interval != 1.0 or isinstance(interval, int) or trainer.check_val_every_n_epoch is None
    module, data = trainer.lightning_module, getattr(trainer, "datamodule", None)
    return (
        by_batches
        or any(_hears_batches(callback) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        or any(True for _ in _own_hooks(module, LightningModule, OF_BATCHES + OF_TRANSFER))
        or (data is not None and any(True for _ in _own_hooks(data, LightningDataModule, OF_TRANSFER)))
    )


def refuse(trainer: Trainer) -> None:
    """Refuse what would have no effect, or another than it says.

    Args:
        trainer: Trainer that is about to fit, validate, test or predict.

    Raises:
        UserError: names the argument or callback, and what serves instead.
    """
    if trainer.state.fn != TrainerFn.FITTING:
        return
    if trainer.gradient_clip_val:
        instead = f"give it to the module: Training(…, gradient_clip_val={trainer.gradient_clip_val})"
        raise UserError(f"Trainer(gradient_clip_val={trainer.gradient_clip_val}): {instead}")
    if trainer.accumulate_grad_batches != 1:
        raise UserError(f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}): {EVERY_BATCH}")
    # ModelCheckpoint(every_n_train_steps=…) recommends to save the weights before a step, and those after it are wanted
    warnings.filterwarnings("ignore", message=".*ModelCheckpoint with manual optimization.*")
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if reason := why_not_served(type(callback)):
            raise UserError(f"{type(callback).__name__}: {reason}")
        if isinstance(callback, ModelCheckpoint) and callback._train_time_interval is not None:
            raise UserError(f"ModelCheckpoint(train_time_interval=…): {BY_TIME}")


def why_not_served(kind: type[Callback]) -> str | None:
    """What serves instead of a callback that could not have its effect; None where it has it.

    Args:
        kind: class of the callback.
    """
    return next((instead for of, instead in INSTEAD.items() if issubclass(kind, of)), None)


def _hears_batches(callback: Callback) -> bool:
    # some callbacks of Lightning hear every batch, and have nothing to do there if they work by epochs
    is_by_epochs = getattr(callback, "every_n_epochs", 0) or getattr(callback, "logging_interval", "") == "epoch"
    by_epochs = (ModelCheckpoint.__module__, LearningRateMonitor.__module__) if is_by_epochs else ()
    hooks = _own_hooks(callback, Callback, OF_BATCHES)
    return any(not hook.__module__.startswith(PATIENT + by_epochs) for hook in hooks)


def _own_hooks(found: Any, base: type, names: Iterable[str]) -> Iterable[Callable[..., Any]]:
    """The hooks of an object that are not those of its base class."""
    return (getattr(found, name) for name in names if is_overridden(name, found, base))
