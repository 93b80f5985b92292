"""Values of a config are checked against the annotations of the arguments that they become."""

import difflib
import inspect
import json
import typing
from typing import Annotated, Any, Literal

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from vae_lab.annotations import ImageShape, NotNegative, Positive, Seed, Size, Sizes
from vae_lab.config.targets import check_targets
from vae_lab.errors import ConfigError

Share = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None

# Values that become no argument of our constructors, so that no annotation of ours limits them.
LIMITS: dict[str, Any] = {
    "task": Literal["train", "evaluate", "report", "estimator_check"],
    "latent_dim": Size,
    "hidden_dims": Sizes,
    "channels": Sizes,
    "image_shape": ImageShape | None,
    "seed": Seed,
    "compile": bool,
    "matmul": Literal["auto", "onednn", "torch"],
    "start_at_data_mean": bool,
    "evaluation.k": Size,
    "evaluation.samples": Annotated[int, Field(ge=2)] | Literal["none"],
    "optimizer.lr": Positive,
    "optimizer.weight_decay": NotNegative,
    "trainer.gradient_clip_val": Positive | None,
    # a call of training_step is several steps, and ends with the epoch; the figures of all epochs are compared
    "trainer.val_check_interval": None,
    "trainer.accumulate_grad_batches": Literal[1],
    "trainer.max_epochs": Annotated[int, Field(ge=1)] | None,
    "trainer.max_steps": Annotated[int, Field(ge=1)] | Literal[-1],
    "trainer.check_val_every_n_epoch": Literal[1],
    "trainer.limit_train_batches": Share,
    "trainer.limit_val_batches": Share | Literal[0],
    "trainer.limit_test_batches": Share,
}

# Without these there is no run.
PARTS = ("data", "model", "encoder", "posterior", "decoder", "likelihood", "prior", "loss", "optimizer", "trainer")
OPTIONAL_PARTS = ("scheduler",)

_ABSENT = object()


def check(config: DictConfig) -> None:
    """Check every target against what a run may be made of, and every value against the argument that it becomes.

    Args:
        config: composed for this command, or read from a run folder.

    Raises:
        ConfigError: names the key, its value and what is allowed.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        key = str(error.full_key)
        given = _value(OmegaConf.to_container(config, resolve=False), key)
        raise ConfigError(key, given, str(error.msg).splitlines()[0]) from error
    assert isinstance(plain, dict)
    check_targets(plain)
    _check_parts(plain)
    for key, allowed in LIMITS.items():
        # a run folder of an earlier version may lack a key that came later
        value = _value(plain, key)
        if value is not _ABSENT:
            _check_value(key, value, allowed)
    for name, node in plain.items():
        _check_node(str(name), node)
    _check_together(plain)


def _value(node: Any, key: str) -> Any:
    """What stands at a key with dots."""
    for name in key.split("."):
        node = node.get(name, _ABSENT) if isinstance(node, dict) else _ABSENT
    return node


def _check_parts(plain: dict[Any, Any]) -> None:
    """Refuse a config that lacks a part, or has something else in its place."""
    for key in PARTS:
        if not _is_part(plain.get(key)):
            raise ConfigError(key, plain.get(key), "must be a part, with the _target_ that it is")
    optional = {key: plain.get(key) for key in OPTIONAL_PARTS}
    for group in ("callbacks", "logger"):
        members = plain.get(group) or {}
        if not isinstance(members, dict):
            raise ConfigError(group, members, "must be names, with a part or null each")
        optional |= {f"{group}.{name}": node for name, node in members.items()}
    for key, node in optional.items():
        if node is not None and not _is_part(node):
            raise ConfigError(key, node, "must be a part, with the _target_ that it is, or null")
    for part in ("encoder", "decoder"):
        if "image_shape" in plain[part]:
            raise ConfigError(f"{part}.image_shape", plain[part]["image_shape"], "is the data's; leave it out")


def _is_part(node: Any) -> bool:
    return isinstance(node, dict) and "_target_" in node


def _check_together(plain: dict[Any, Any]) -> None:
    """Refuse values of which each is allowed, but not all together."""
    trainer, fused = plain["trainer"], plain["optimizer"].get("fused")
    if trainer.get("max_epochs") is None and trainer.get("max_steps", -1) == -1:
        raise ConfigError("trainer.max_epochs", None, "must be a number where trainer.max_steps is none")
    precision = str(trainer.get("precision"))
    if fused and trainer.get("gradient_clip_val") and precision.endswith("-mixed"):
        reason = f"a fused optimiser leaves no gradient to clip under trainer.precision={precision}; use false"
        raise ConfigError("optimizer.fused", fused, reason)


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
        if name in hints and f"{key}.{name}" not in LIMITS and not _is_part(value):
            _check_value(f"{key}.{name}", value, hints[name])


def _check_value(key: str, value: Any, allowed: Any) -> None:
    try:
        adapter = TypeAdapter(allowed, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return  # an annotation of a library that says nothing about plain values
    try:
        # as JSON, where a list may become a tuple but "1" never becomes 1
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        reasons = dict.fromkeys(item["msg"].replace("Input should be", "must be") for item in error.errors())
        raise ConfigError(key, value, " or ".join(reasons)) from error
