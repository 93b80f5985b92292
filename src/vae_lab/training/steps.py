"""One optimiser step: through Lightning, or without it where nothing else takes part in the step."""

from collections.abc import Callable
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import SingleDeviceStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor
from torch.optim import Optimizer

HOOKS = ("on_before_zero_grad", "on_before_backward", "on_after_backward", "on_before_optimizer_step")


def is_quick(trainer: Trainer) -> bool:
    """Whether neither the strategy nor the precision nor a callback has something to do within a step."""
    return (
        isinstance(trainer.strategy, SingleDeviceStrategy)
        and getattr(trainer.precision_plugin, "scaler", None) is None
        and not any(is_overridden(hook, callback, Callback) for callback in trainer.callbacks for hook in HOOKS)  # type: ignore[attr-defined]
    )


def all_stages(
    module: Any, x: Tensor, weight: Tensor, step: Callable[[str, Tensor], None]
) -> tuple[Tensor, dict[str, Tensor]]:
    """The steps of all stages with one batch; returns the last loss and the figures of the images, (batch,) each.

    Args:
        module: the training.
        x: images, (batch, channels, height, width).
        weight: weight that the loss takes, ().
        step: function that makes the step of a stage, given its name and its loss.
    """
    figures: dict[str, Tensor] = {}
    for stage in module.stages:
        outcome = module.loss(module.model, x, weight, stage)
        step(stage, outcome.loss)
        figures |= outcome.figures
    return outcome.loss.detach(), figures


def plain_step(module: LightningModule, optimizer: LightningOptimizer, loss: Tensor) -> None:
    """One step through the strategy, the precision and all hooks."""
    optimizer.zero_grad()
    module.manual_backward(loss)
    optimizer.step()


def quick_step(module: LightningModule, optimizer: LightningOptimizer, loss: Tensor) -> None:
    """The same step without Lightning's wrapper, which takes 140 µs: 3 % of a small model's step."""
    _differentiate(module, optimizer.optimizer, loss)
    # Lightning has no public way to count a step that it did not make, and global_step is that count
    optimizer._on_before_step()
    optimizer.optimizer.step()
    optimizer._on_after_step()


def bare_step(module: LightningModule, optimizer: Optimizer, loss: Tensor) -> None:
    """The same step, which nobody counts."""
    _differentiate(module, optimizer, loss)
    optimizer.step()


def _differentiate(module: LightningModule, optimizer: Optimizer, loss: Tensor) -> None:
    """The gradient of a loss by an optimiser's parameters, clipped."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None
    loss.backward()
    module.on_before_optimizer_step(optimizer)


def count(optimizer: LightningOptimizer, steps: int) -> None:
    """Let Lightning count steps that it did not make."""
    for _ in range(steps):
        optimizer._on_before_step()
        optimizer._on_after_step()


def listed(found: Any) -> list[Any]:
    """Lightning gives None, one object or a list."""
    return found if isinstance(found, list) else [] if found is None else [found]


def count_last_only(optimizers: list[LightningOptimizer]) -> None:
    """Let the steps of all stages count as one: Lightning would count each optimiser's."""
    for optimizer in optimizers[:-1]:
        optimizer._on_before_step = optimizer._on_after_step = _nothing


def _nothing() -> None:
    pass
