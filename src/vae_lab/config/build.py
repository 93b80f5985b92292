"""From a composed config to objects: each value is held to the annotation of the argument that it becomes."""

import difflib
import importlib
import inspect
import json
import re
import typing
from types import FunctionType
from typing import Annotated, Any, Literal

from hydra.errors import InstantiationException
from hydra.utils import get_object, instantiate
from lightning import Callback, LightningDataModule
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from torch import nn

from vae_lab.config.memory import LARGEST_MODEL, Budget
from vae_lab.data import MNISTDataModule
from vae_lab.data import mnist_files as files
from vae_lab.decoders import Decoder
from vae_lab.errors import ConfigError, UserError
from vae_lab.likelihoods import Likelihood
from vae_lab.losses import Loss, NoClosedFormError
from vae_lab.models.vae import VAE
from vae_lab.networks import HiddenDims, Width
from vae_lab.priors import Prior

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None

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
    # a call of training_step is several steps, and ends with the epoch; each epoch's NELBO is compared with all others'
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
PARTS = ("data", "encoder", "decoder", "likelihood", "prior", "loss", "optimizer", "trainer")

IMAGES_AT_ONCE = 2_000_000  # decoded in one step: 6 GB of logits

_ABSENT = object()

# Where a config may name a target: the module that it must be of, and its kind. A run of other classes could be
# trained, but nobody could load it: a run folder is data.
OUR_TARGETS: dict[str, tuple[str, type]] = {
    "data": ("vae_lab.data", LightningDataModule),
    "encoder": ("vae_lab.encoders", nn.Module),
    "decoder": ("vae_lab.decoders", Decoder),
    "likelihood": ("vae_lab.likelihoods", Likelihood),
    "prior": ("vae_lab.priors", Prior),
    "loss": ("vae_lab.losses", Loss),
    "scheduler": ("vae_lab.training.schedulers", FunctionType),
    "callbacks": ("vae_lab.training.callbacks", Callback),
    "logger": ("vae_lab.training.loggers", Logger),
}

PARTIAL = ("optimizer", "scheduler")  # made by us from what is still missing

# The other classes that it may name; none of them is given a path to write to.
OTHER_TARGETS = {
    "optimizer": {"torch.optim.Adam", "torch.optim.AdamW"},
    "trainer": {"lightning.Trainer"},
    "callbacks": {
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.callbacks.ModelSummary",
        "lightning.pytorch.callbacks.TQDMProgressBar",
        "vae_lab.sweeps.search.Pruning",
    },
}


def check(config: DictConfig) -> None:
    """Hold every target to what a run may be made of, and every value to the argument that it becomes.

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
    if plain.get("scheduler") is not None and not _is_part(plain["scheduler"]):
        raise ConfigError("scheduler", plain["scheduler"], "must be a part, with the _target_ that it is, or null")
    for group in ("callbacks", "logger"):
        members = plain.get(group) or {}
        if not isinstance(members, dict):
            raise ConfigError(group, members, "must be names, with a part or null each")
        for name, node in members.items():
            if node is not None and not _is_part(node):
                raise ConfigError(f"{group}.{name}", node, "must be a part, with the _target_ that it is, or null")


def _is_part(node: Any) -> bool:
    return isinstance(node, dict) and "_target_" in node


def _check_together(plain: dict[Any, Any]) -> None:
    """Refuse values that are allowed each, and not together."""
    trainer, fused, samples = plain["trainer"], plain["optimizer"].get("fused"), plain["loss"].get("samples", 1)
    if trainer.get("max_epochs") is None and trainer.get("max_steps", -1) == -1:
        raise ConfigError("trainer.max_epochs", None, "must be a number where trainer.max_steps is none")
    precision = str(trainer.get("precision"))
    if fused and trainer.get("gradient_clip_val") and precision.endswith("-mixed"):
        reason = f"a fused optimiser leaves no gradient to clip under trainer.precision={precision}; use false"
        raise ConfigError("optimizer.fused", fused, reason)
    for name in ("batch_size", "eval_batch_size"):
        images = min(plain["data"].get(name, 1), files.TRAIN_IMAGES)
        if samples * images > IMAGES_AT_ONCE:
            decoded = f"{samples * images:,} images are decoded at once, at most {IMAGES_AT_ONCE:,}"
            raise ConfigError("loss.samples", samples, f"with data.{name}={images} {decoded}")


def check_targets(config: Any, key: str = "") -> None:
    """Hold every ``_target_`` to the parts of ours, and the few of OTHER_TARGETS, that belong at its place.

    The name as written and the object that it leads to must both be allowed: ``vae_lab.tasks.run.os.system`` is
    written as ours and is not, and ``vae_lab.cli.main`` is ours and no part.

    Raises:
        ConfigError: names the key and the target.
    """
    if isinstance(config, list):
        for index, child in enumerate(config):
            check_targets(child, f"{key}[{index}]")
    elif isinstance(config, dict):
        place = _place(key)
        for name, child in config.items():
            path = f"{key}.{name}".lstrip(".")
            if name == "_target_" and not (place and _is_allowed(place, child)):
                raise ConfigError(path, child, "only vae_lab's own parts are allowed here")
            if name.startswith("_") and name not in ("_target_", "_partial_"):
                raise ConfigError(path, child, "is not used here")
            if name == "_partial_" and (child is not True or place not in PARTIAL):
                raise ConfigError(path, child, f"only {' and '.join(PARTIAL)} are partial, and they are so")
            check_targets(child, path)


def _place(key: str) -> str | None:
    """The group whose targets may stand at a key; None where none may."""
    group, _, name = key.partition(".")
    if key == "decoder.likelihood":
        return "likelihood"
    if group in ("callbacks", "logger"):
        return group if name and not re.search(r"[.\[]", name) else None
    return None if name else group


def _is_allowed(place: str, target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if target in OTHER_TARGETS.get(place, ()):
        return True
    module, _, name = target.rpartition(".")
    allowed, kind = OUR_TARGETS.get(place, (None, type))
    if module != allowed or name.startswith("_"):
        return False
    found = getattr(importlib.import_module(module), name, None)
    if not f"{getattr(found, '__module__', '')}.".startswith(f"{module}."):
        return False  # merely imported there
    # a base class cannot do the work
    return issubclass(found, kind) and found is not kind if isinstance(found, type) else isinstance(found, kind)


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
        if isinstance(cause, MisconfigurationException | ValueError | TypeError | RuntimeError | OverflowError):
            reason = " ".join(str(cause).split())
            if "backend" in reason:
                reason += " Use trainer.accelerator=cpu, or auto"
                raise ConfigError("trainer.accelerator", node.accelerator, reason) from error
            raise ConfigError(key, str(node.get("_target_")).rpartition(".")[2], reason) from error
        raise


def build_model(config: DictConfig, at_most: int = LARGEST_MODEL) -> VAE:
    """The VAE that a config describes.

    Args:
        config: of the run.
        at_most: bytes of the tensors that it is made of.

    Raises:
        ConfigError: if the parts do not fit together.
        ModelSizeError: before the memory is taken, if they are too large.
    """
    parts = {}
    with Budget(at_most):
        for key in ("encoder", "decoder", "prior", "loss", "optimizer", "scheduler"):
            if config[key]:
                parts[key] = build(config[key], key)
        try:
            return VAE(**parts, gradient_clip_val=config.trainer.get("gradient_clip_val"))
        except NoClosedFormError as error:
            raise ConfigError("loss", type(parts["loss"]).__name__.lower(), f"{error}; use loss=sgvb") from error
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = f"does not fit the other parts ({error}); latent_dim and the like stand once, at the top"
            raise ConfigError("encoder", type(parts["encoder"]).__name__, reason) from error


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
        if name in hints and f"{key}.{name}" not in LIMITS and not _is_part(value):
            _check_value(f"{key}.{name}", value, hints[name])


def _check_value(key: str, value: Any, allowed: Any) -> None:
    try:
        adapter = TypeAdapter(allowed, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticSchemaGenerationError:
        return  # an annotation of a library that says nothing of plain values
    try:
        # as JSON, where a list may become a tuple but "1" never becomes 1
        adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        reasons = dict.fromkeys(item["msg"].replace("Input should be", "must be") for item in error.errors())
        raise ConfigError(key, value, " or ".join(reasons)) from error
