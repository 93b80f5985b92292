"""From a composed config to objects: each value is held to the annotation of the argument that it becomes."""

import difflib
import inspect
import json
import typing
from typing import Annotated, Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from vae_lab.data import MNISTDataModule
from vae_lab.errors import ConfigError, UserError
from vae_lab.losses import NoClosedFormError
from vae_lab.networks import HiddenDims, Width
from vae_lab.vae import VAE

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]

# Values that no constructor of ours receives, so that no annotation of ours can hold them.
LIMITS: dict[str, Any] = {
    "task": Literal["train", "evaluate", "report", "estimator_check"],
    "latent_dim": Width,
    "hidden_dims": HiddenDims,
    "channels": HiddenDims,
    "seed": Annotated[int, Field(ge=0, lt=2**32)],
    "compile": bool,
    "start_at_data_mean": bool,
    "evaluation.k": Width,
    "evaluation.samples": Annotated[int, Field(ge=2)] | Literal["none"],
    "optimizer.lr": Positive,
    "optimizer.weight_decay": NotNegative,
    "trainer.gradient_clip_val": Positive | None,
    # a call of training_step is several steps, and ends with the epoch
    "trainer.val_check_interval": Literal[1],
    "trainer.accumulate_grad_batches": Literal[1],
    "trainer.max_epochs": Annotated[int, Field(ge=1)] | None,
    "trainer.max_steps": Annotated[int, Field(ge=-1)],
}

_ABSENT = object()

# The library classes that a config may name beside our own.
LIBRARY_TARGETS = {
    "torch.optim.Adam",
    "torch.optim.AdamW",
    "lightning.Trainer",
    "lightning.pytorch.callbacks.EarlyStopping",
    "lightning.pytorch.callbacks.LearningRateMonitor",
    "lightning.pytorch.callbacks.ModelCheckpoint",
    "lightning.pytorch.callbacks.ModelSummary",
    "lightning.pytorch.callbacks.TQDMProgressBar",
}


def check(config: DictConfig) -> None:
    """Hold every value to the type and range of the argument that it becomes.

    Raises:
        ConfigError: names the key, its value and what is allowed.
    """
    for key, allowed in LIMITS.items():
        # a run folder of an earlier version may lack a key that came later
        value = OmegaConf.select(config, key, default=_ABSENT)
        if value is not _ABSENT:
            _check_value(key, value, allowed)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    for group, node in plain.items():
        _check_node(str(group), node)


def check_targets(config: Any, key: str = "") -> None:
    """Hold every ``_target_`` to our own classes and the few of LIBRARY_TARGETS.

    The name as written and the object that it leads to must both be allowed: ``vae_lab.run.os.system`` is
    written as ours and is not.

    Raises:
        ConfigError: names the key and the target.
    """
    if isinstance(config, list):
        for index, child in enumerate(config):
            check_targets(child, f"{key}[{index}]")
    elif isinstance(config, dict):
        target = config.get("_target_")
        if target is not None and not _is_allowed(target):
            raise ConfigError(f"{key}._target_", target, "only vae_lab's own parts are allowed here")
        for name, child in config.items():
            check_targets(child, f"{key}.{name}".lstrip("."))


def _is_allowed(target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if target in LIBRARY_TARGETS:
        return True
    if not target.startswith("vae_lab."):
        return False
    found = get_object(target)
    return str(getattr(found, "__module__", "")).startswith("vae_lab.")


def build(node: DictConfig, key: str, **arguments: Any) -> Any:
    """Instantiate one part; what its constructor objects to becomes one line.

    Raises:
        ConfigError: names the key.
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, MisconfigurationException | ValueError | TypeError):
            reason = " ".join(str(cause).split())
            if "backend" in reason:
                reason += " Use trainer.accelerator=cpu, or auto"
                raise ConfigError("trainer.accelerator", node.accelerator, reason) from error
            raise ConfigError(key, str(node.get("_target_")).rpartition(".")[2], reason) from error
        raise


def build_model(config: DictConfig) -> VAE:
    """The VAE that a config describes.

    Raises:
        ConfigError: if the parts do not fit together.
    """
    parts = {
        key: build(config[key], key)
        for key in ("encoder", "decoder", "prior", "loss", "optimizer", "scheduler")
        if config[key]
    }
    try:
        return VAE(**parts, gradient_clip_val=config.trainer.get("gradient_clip_val"))
    except NoClosedFormError as error:
        raise ConfigError("loss", type(parts["loss"]).__name__.lower(), f"{error}; use loss=sgvb") from error


def build_data(config: DictConfig) -> MNISTDataModule:
    """The data module that a config describes."""
    data = build(config.data, "data")
    assert isinstance(data, MNISTDataModule)
    return data


def _check_node(key: str, node: Any) -> None:
    """Check the arguments of a node that names a target, and of the nodes inside it."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            _check_node(f"{key}[{index}]", child)
    if not isinstance(node, dict):
        return
    arguments = {name: value for name, value in node.items() if not name.startswith("_")}
    if "_target_" in node:
        _check_arguments(key, node["_target_"], arguments)
    for name, value in arguments.items():
        _check_node(f"{key}.{name}", value)


def _check_arguments(key: str, target: str, arguments: dict[str, Any]) -> None:
    found = get_object(target)
    parameters = inspect.signature(found).parameters
    hints = typing.get_type_hints(found.__init__ if inspect.isclass(found) else found, include_extras=True)
    for name, value in arguments.items():
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, n=1)
            meant = f", did you mean {key}.{close[0]}?" if close else ""
            raise ConfigError(f"{key}.{name}", value, f"{target} takes no such argument{meant}")
        has_target = isinstance(value, dict) and "_target_" in value
        if name in hints and f"{key}.{name}" not in LIMITS and not has_target:
            _check_value(f"{key}.{name}", value, hints[name])


def _check_value(key: str, value: Any, allowed: Any) -> None:
    try:
        adapter = TypeAdapter(allowed, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return  # an annotation of a library that says nothing of plain values
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    try:
        # as JSON, where a list may become a tuple but "1" never becomes 1
        adapter.validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        reasons = dict.fromkeys(item["msg"].replace("Input should be", "must be") for item in error.errors())
        raise ConfigError(key, plain, " or ".join(reasons)) from error
