"""Classes of other packages that a run has no place for: each is refused before the run, with the reason."""

import inspect
from collections.abc import Mapping
from typing import Any

from hydra.utils import get_object
from lightning import Callback
from lightning.pytorch.callbacks import BasePredictionWriter, DeviceStatsMonitor, LearningRateMonitor, ModelCheckpoint
from torch.optim import SparseAdam
from torch.optim.lr_scheduler import ReduceLROnPlateau

from vae_lab.config.keys import GIVEN
from vae_lab.config.targets import PARTIAL
from vae_lab.errors import ConfigError
from vae_lab.training.demands import why_not_served

MEASURING = (LearningRateMonitor, DeviceStatsMonitor)  # they log within an epoch
BY_EPOCH = ("vae_lab.training.loggers.CSV",)  # loggers with a row for each epoch, and nothing else


def check_served(plain: Mapping[str, Any]) -> None:
    """Refuse an optimiser, a schedule or a callback that the training cannot serve.

    Args:
        plain: config as plain values, its targets checked.

    Raises:
        ConfigError: names the key, and what serves instead.
    """
    for group in PARTIAL:
        node = plain.get(group)
        if node:
            _check_complete(group, node)
    _check_optimizer(plain["optimizer"])
    _check_schedule(plain.get("scheduler") or {})
    for name, node in (plain.get("callbacks") or {}).items():
        if node:
            _check_callback(f"callbacks.{name}", node, plain.get("logger") or {})


def _check_complete(group: str, node: Mapping[str, Any]) -> None:
    """Refuse a part that lacks an argument: it is built late, when the run has begun."""
    target = str(node["_target_"])
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for name, parameter in inspect.signature(get_object(target)).parameters.items():
        is_needed = parameter.default is inspect.Parameter.empty and parameter.kind not in variable
        if not is_needed or name in node or name in GIVEN[group]:
            continue
        if name in ("lr_lambda", "schedulers"):
            what = "a function" if name == "lr_lambda" else "other schedules"
            remedy = "write a function of (optimizer, total_steps) that makes it, and name that"
            raise ConfigError(f"{group}._target_", target, f"needs {what} as {name}; {remedy}")
        raise ConfigError(f"{group}.{name}", None, f"must be given: {target} needs it; +{group}.{name}=VALUE")


def _check_optimizer(node: Mapping[str, Any]) -> None:
    target = str(node["_target_"])
    kind = get_object(target)
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        reason = "computes the loss several times in each step (it needs a closure), and a step here computes it once"
        raise ConfigError("optimizer._target_", target, f"{reason}, on a new batch; use another")
    if issubclass(kind, SparseAdam):
        raise ConfigError("optimizer._target_", target, "takes sparse gradients only, and no part has them; use Adam")


def _check_schedule(node: Mapping[str, Any]) -> None:
    kind = get_object(str(node["_target_"])) if node else None
    if isinstance(kind, type) and issubclass(kind, ReduceLROnPlateau) and node.get("mode", "min") != "min":
        raise ConfigError("scheduler.mode", node["mode"], "it follows the run's criterion, lower is better; use min")


def _check_callback(key: str, node: Mapping[str, Any], loggers: Mapping[str, Any]) -> None:
    target = str(node["_target_"])
    kind: type[Callback] = get_object(target)
    reason = why_not_served(kind)
    if issubclass(kind, BasePredictionWriter):
        reason = "nothing is predicted in a run"
    if issubclass(kind, ModelCheckpoint) and node.get("train_time_interval"):
        reason = "its train_time_interval has no effect here; use callbacks.last.every_n_minutes"
    if reason is not None:
        raise ConfigError(f"{key}._target_", target, reason)
    rows = [logger for logger in loggers.values() if logger and logger["_target_"] not in BY_EPOCH]
    if issubclass(kind, MEASURING) and not rows:
        reason = "logs within the epochs, and metrics.csv has one row for each; add logger=default, for TensorBoard"
        raise ConfigError(f"{key}._target_", target, reason)
