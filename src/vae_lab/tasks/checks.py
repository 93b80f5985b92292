"""Settings that can be judged only when the parts are built: each is one line before the run, not a traceback in it."""

import math

import torch
from hydra.utils import get_class
from lightning import Trainer
from lightning.pytorch.callbacks import EarlyStopping
from omegaconf import DictConfig, OmegaConf

from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, UserError, is_ours, raised_by, reason_of
from vae_lab.figures.quantities import quantity_of
from vae_lab.losses import Outcome
from vae_lab.losses.base import trial_images
from vae_lab.randomness import fixed_noise
from vae_lab.training import hardware
from vae_lab.training.figures import FigureCallback
from vae_lab.training.graphs import why_not_here
from vae_lab.training.measurements import Measurement
from vae_lab.training.module import Training
from vae_lab.training.schedulers import make_schedule


def check_before_training(config: DictConfig, trainer: Trainer, training: Training, data: ImageDataModule) -> None:
    """Refuse limits that leave no batch, figures that are needed and not measured, and a compiler that fails.

    Args:
        config: config of the run.
        trainer: its Trainer.
        training: its module, on the CPU.
        data: its data, read.

    Raises:
        ConfigError: names the key.
    """
    loaders = {"train": data.train_dataloader(), "val": data.val_dataloader(), "test": data.test_dataloader()}
    for name, loader in loaders.items():
        check_limit(f"trainer.limit_{name}_batches", getattr(trainer, f"limit_{name}_batches"), len(loader))
    validates = bool(len(loaders["val"]) and trainer.limit_val_batches)
    for measurement in _measurements(trainer):
        measurement.check(data)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, FigureCallback):
            _check_is_whole(callback)
            callback.check(training.model, data)
    _check_own_loss(training)
    _check_criterion(config, trainer, training, validates)
    _check_monitored(config, training, validates)
    _check_graphs(config, trainer, training)
    _check_optimizers(config, training)
    if config.get("compile") and not training.loss.can_be_compiled:
        raise ConfigError("compile", True, "a compiled graph would leave out a part of this loss's gradient; use false")
    if config.get("compile") and (reason := hardware.why_not_compiled(trainer.strategy.root_device)):
        raise ConfigError("compile", True, f"the compiler does not work here ({reason}); use false")


def _check_is_whole(callback: FigureCallback) -> None:
    """Refuse a figure of another package without what each has of its own."""
    kind = type(callback)
    if not isinstance(getattr(callback, "name", None), str):
        raise ConfigError("callbacks", kind.__name__, 'has no name; give the class name = "…", that of its file')
    if kind.draw is FigureCallback.draw:
        raise ConfigError("callbacks", kind.__name__, "has no draw(model, data) of its own, which returns the figure")


def _check_own_loss(training: Training) -> None:
    """Try a loss of another package with two images, and refuse one whose steps would fail."""
    model, loss = training.model, training.loss
    kind, module = type(loss).__name__, type(loss).__module__
    if is_ours(module):
        return
    for stage in loss.stages(model):
        try:
            with trial_images(model) as x, torch.enable_grad():
                found = loss(model, x.repeat(2, 1, 1, 1), 1.0, stage.name)
        except UserError:
            raise
        except Exception as error:  # whatever a class of another package does
            reason = f"{raised_by(error, module)} for forward(model, x, weight, stage)"
            raise ConfigError("loss", kind, reason) from error
        if wrong := _not_an_outcome(found):
            raise ConfigError("loss", kind, f"forward {wrong}")


def _not_an_outcome(found: object) -> str | None:
    """Why it is not what a loss must give for two images; None where it is."""
    if not isinstance(found, Outcome):
        return f"gave a {type(found).__name__}, and must give a vae_lab.losses.Outcome(loss, figures)"
    if found.loss.shape != ():
        return f"gave a loss of shape {tuple(found.loss.shape)}, and must give one number, (); take its mean"
    if not found.loss.requires_grad:
        return "gave a loss without a gradient; is something detached, or computed in no_grad?"
    odd = [name for name, figure in found.figures.items() if figure.shape != (2,)]
    return f"gave a figure {odd[0]} that is not one number for each image, (batch,)" if odd else None


def _check_graphs(config: DictConfig, trainer: Trainer, training: Training) -> None:
    """Refuse to capture graphs where the Trainer's steps cannot be, or where a compiler captures its own."""
    reason = "compile=true captures graphs of its own" if config.get("compile") else why_not_here(trainer)
    if training.graphs is True and reason:
        raise ConfigError("trainer.graphs", True, f"{reason}; use auto or false")


def check_limit(key: str, limit: float, batches: int) -> None:
    """Refuse a share that is less than one batch.

    Args:
        key: key of the limit.
        limit: share of the batches as a float, or their number as an int.
        batches: number of batches without the limit.

    >>> check_limit("trainer.limit_val_batches", 0.1, batches=5)
    Traceback (most recent call last):
    vae_lab.errors.ConfigError: trainer.limit_val_batches=0.1: is less than one of 5 batches; use 0.2 or more, or 1
    """
    if isinstance(limit, float) and limit > 0 and batches and int(limit * batches) == 0:
        parts = 10 ** (2 + int(math.log10(batches)))
        smallest = math.ceil(parts / batches) / parts
        reason = f"is less than one of {batches} batches; use {smallest:g} or more, or 1"
        raise ConfigError(key, limit, reason)


def _check_criterion(config: DictConfig, trainer: Trainer, training: Training, validates: bool) -> None:
    """Refuse a run whose criterion is a figure of the whole set that no callback measures."""
    model = training.model
    if model.criterion == "nelbo" or any(model.criterion in names for names in _figures_of_images(training)):
        return
    runs = f"runs of {type(model).__name__} are chosen by the {quantity_of(model.criterion).name} of held-out images"
    if not any(model.criterion in measurement.measures for measurement in _measurements(trainer)):
        raise ConfigError("callbacks.quality", None, f"is required: {runs}, which it measures")
    if not validates:
        key = "data.validation" if trainer.limit_val_batches else "trainer.limit_val_batches"
        raise ConfigError(key, OmegaConf.select(config, key), f"must leave some images: {runs}")


def _check_optimizers(config: DictConfig, training: Training) -> None:
    """Refuse an optimiser, or a schedule, that cannot be made for this model: each is made once, and not used."""
    for stage in training.loss.stages(training.model):
        key = "optimizer"
        try:
            optimizer = training.make_optimizer(stage.parameters)
            key = "scheduler"
            if training.make_scheduler is not None:
                make_schedule(training.make_scheduler, optimizer, steps=1000)
        except Exception as error:  # whatever another package's class raises
            raise ConfigError(key, config[key]._target_, f"cannot be made ({reason_of(error)})") from error


def _measurements(trainer: Trainer) -> list[Measurement]:
    return [callback for callback in trainer.callbacks if isinstance(callback, Measurement)]  # type: ignore[attr-defined]


def _figures_of_images(training: Training) -> tuple[list[str], list[str]]:
    """Names of the figures of each image in validation and in training, found by one pass of two black images."""
    model, loss = training.model, training.loss
    x = model.cast(torch.zeros(2, *model.image_shape))
    with fixed_noise(0, model.device):
        return [*model.measure(x)], [name for stage in training.stages for name in loss(model, x, stage=stage).figures]


def _check_monitored(config: DictConfig, training: Training, validates: bool) -> None:
    """Refuse early stopping on a figure that is not logged when it is looked up, or in the wrong direction."""
    for name, node in (config.callbacks or {}).items():
        if not node or not issubclass(get_class(node._target_), EarlyStopping):
            continue
        key, monitor = f"callbacks.{name}.monitor", node.get("monitor")
        at_end_of_epoch = node.get("check_on_train_epoch_end") is not False
        logged = _figures_of(training, validates, at_end_of_epoch)
        if not logged:
            raise ConfigError(f"callbacks.{name}.check_on_train_epoch_end", False, "there is no validation; use true")
        if monitor not in logged:
            raise ConfigError(key, monitor, f"no such figure is logged; there are {', '.join(logged)}")
        if node.get("mode") == "max" and monitor.rpartition("/")[2] in ("criterion", training.model.criterion):
            raise ConfigError(f"callbacks.{name}.mode", "max", f"{monitor} is better where it is lower; use min")


def _figures_of(training: Training, validates: bool, at_end_of_epoch: bool) -> list[str]:
    """Names of the figures that a callback can read."""
    (of_val, of_train), criterion = _figures_of_images(training), training.model.criterion
    # the criterion may be measured of the whole set, and not of each batch
    found = [f"val/{name}" for name in (criterion, *of_val)] if validates else []
    if at_end_of_epoch:
        found += ["criterion", criterion, *(f"train/{name}" for name in of_train)]
    return sorted(dict.fromkeys(found))
