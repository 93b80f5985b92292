"""Values of a config are checked against the annotations of the arguments that they become."""

import inspect
import json
import re
import typing
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import ErrorDetails

from vae_lab.annotations import CodeLength, ImageShape, NotNegative, Positive, Seed, Size, Sizes
from vae_lab.config.hints import hints_of
from vae_lab.config.keys import check_keys, did_you_mean, primary
from vae_lab.config.served import check_served
from vae_lab.config.settings import NESTED, choices, leaves, shown
from vae_lab.config.targets import OF_MODELS, check_targets, parts_of_model, with_default
from vae_lab.config.trainer_arguments import OURS, WORKS, check_names, check_values
from vae_lab.config.trust import Trust, trusted
from vae_lab.errors import ConfigError

# Values that are not arguments of our constructors, so that our annotations do not limit them.
LIMITS: dict[str, Any] = {
    "task": Literal["train", "evaluate", "figures", "explore", "report", "estimator_check"],
    "latent_dim": Size,
    "hidden_dims": Sizes,
    "channels": Sizes,
    "image_shape": ImageShape | None,
    "seed": Seed,
    "init_from": str | None,
    "init_strict": bool,
    "compile": bool,
    "threads": Annotated[int, Field(ge=1, le=1024)] | Literal["auto"],
    "matmul": Literal["auto", "onednn", "torch"],
    "start_at_data_mean": bool,
    "report.baseline": str | None,
    "training.ema": Annotated[float, Field(ge=0, lt=1)],
    "evaluation.k": Size,
    "evaluation.bit_draws": Size,
    "evaluation.samples": Annotated[int, Field(ge=2)] | Literal["none"],
    "evaluation.gaps": bool,
    "evaluation.images": Annotated[Size, Field(ge=2)],  # one has no standard error
    "evaluation.ais_steps": Size,
    "evaluation.ais_chains": Annotated[int, Field(ge=1, le=1000)],
    "explore.port": Annotated[int, Field(ge=0, le=65535)],
    "explore.browser": bool,
    "figures.format": Literal["png", "pdf", "svg"],
    "figures.dpi": Annotated[int, Field(ge=30, le=1200)],
    "figures.only": Annotated[list[str], Field(min_length=1)] | None,
    "optimizer.lr": Positive,
    "optimizer.weight_decay": NotNegative,
    **{f"trainer.{name}": allowed for name, allowed in (WORKS | OURS).items()},
}

# Arguments of callbacks that are not ours, where their annotations allow more than what works.
OF_OTHERS: dict[str, dict[str, Any]] = {
    "lightning.pytorch.callbacks.EarlyStopping": {
        "patience": Annotated[int, Field(ge=0)],
        "min_delta": NotNegative,
        "mode": Literal["min", "max"],
    },
    "lightning.pytorch.callbacks.ModelSummary": {"max_depth": Annotated[int, Field(ge=-1)]},
    "lightning.pytorch.callbacks.TQDMProgressBar": {
        "refresh_rate": Annotated[int, Field(ge=1)],
        "process_position": Annotated[int, Field(ge=0)],
    },
}

# Without these, and the parts of its model, there is no run.
PARTS = ("data", "model", "loss", "optimizer", "trainer")
OPTIONAL_PARTS = ("scheduler",)

# Names of the precisions in which the optimiser scales gradients.
MIXED = ("16-mixed", "bf16-mixed", "16", "bf16")

# Sizes at the top of a config, and a part that follows each.
SIZES = {"latent_dim": "prior", "hidden_dims": "decoder", "channels": "decoder"}

_ABSENT = object()


def check(config: DictConfig, trust: Trust | None = None) -> None:
    """Check every target against what a run may be made of, and every value against the argument that it becomes.

    Args:
        config: config that was composed for this command, or read from a run folder.
        trust: what the reader trusts, for a config from a run folder, which may have keys of another version; None for
            one that was composed.

    Raises:
        ConfigError: names the key, its value and what is allowed.
    """
    try:
        plain = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        key, raw = str(error.full_key), OmegaConf.to_container(config, resolve=False)
        assert isinstance(raw, dict)
        check_targets(raw, trust)
        _check_parts(raw)  # a part that the model does not take may follow another one that is not there
        given = _value(raw, key)
        raise ConfigError(key, given, str(error.msg).splitlines()[0]) from error
    assert isinstance(plain, dict)
    named = {str(name): node for name, node in plain.items()}
    missing = next((key for key, value in leaves(named, apart=()).items() if value == "???"), None)
    if missing is not None:
        raise ConfigError(missing, "???", f"must be given: {missing}=…")
    check_targets(plain, trust)
    _check_parts(plain)
    if trust is None:
        check_served(named)
        trusted(plain.get("trust"), "")
        check_keys(plain)
        check_names(plain["trainer"])
        _refuse_unfollowed(plain)
    for key, allowed in LIMITS.items():
        # a run folder of an earlier version may lack a key that came later
        value = _value(plain, key)
        if value is not _ABSENT:
            _check_value(key, value, allowed)
    for name, node in plain.items():
        _check_node(str(name), node)
    _check_together(plain)


def _value(node: Any, key: str) -> Any:
    """The value at a key with dots."""
    for name in key.split("."):
        node = node.get(name, _ABSENT) if isinstance(node, dict) else _ABSENT
    return node


def _check_parts(plain: dict[Any, Any]) -> None:
    """Refuse a config that lacks a part, or has something else in its place."""
    _require_parts(plain, PARTS)
    left_out = [name for name in with_default(plain["model"]["_target_"]) if plain.get(name) is None]
    of_model = [name for name in parts_of_model(plain["model"]["_target_"]) if name not in left_out]
    _require_parts(plain, of_model)
    _refuse_unused(plain, of_model)
    optional = {key: plain.get(key) for key in OPTIONAL_PARTS}
    for group in ("callbacks", "logger"):
        members = plain.get(group) or {}
        if not isinstance(members, dict):
            raise ConfigError(group, members, "must be names with a part or null each")
        optional |= {f"{group}.{name}": node for name, node in members.items()}
    for key, node in optional.items():
        if node is not None and not _is_part(node):
            meant = did_you_mean(key, [name for name in optional if name != key])
            raise ConfigError(key, node, f"must be a part with a _target_, or null{meant}")
    _check_codes(plain, of_model)
    for part in ("model", *of_model):
        if "image_shape" in plain[part]:
            raise ConfigError(f"{part}.image_shape", plain[part]["image_shape"], "comes from the data; leave it out")


def _refuse_unused(plain: dict[Any, Any], of_model: Sequence[str]) -> None:
    """Require the parts inside the model's parts, and refuse parts that this kind of model does not have."""
    inner = [group for key, group in NESTED.items() if key.partition(".")[0] in of_model and _inside(plain, key)]
    _require_parts(plain, inner)
    for group in OF_MODELS:
        if group not in (*of_model, *inner) and plain.get(group) is not None:
            kind = shown("model._target_", plain["model"]["_target_"])
            value = plain[group].get("_target_") if _is_part(plain[group]) else plain[group]
            raise ConfigError(group, shown(f"{group}._target_", value), f"model={kind} takes no {group}; leave it out")


def _refuse_unfollowed(plain: dict[Any, Any]) -> None:
    """Refuse sizes at the top beside a model whose networks are its own: they would change nothing."""
    of_model = parts_of_model(plain["model"]["_target_"])
    kind = shown("model._target_", plain["model"]["_target_"])
    own = [f"model.{name}" for name in plain["model"] if not name.startswith("_")]
    for name, follower in SIZES.items():
        if follower not in of_model and plain[name] != primary()[name]:
            has = f"; it has {', '.join(own)}" if own else "; leave it out"
            raise ConfigError(name, plain[name], f"nothing of model={kind} follows it{has}")


def _inside(plain: dict[Any, Any], key: str) -> bool:
    """Whether a part takes the part at this key."""
    part, _, name = key.partition(".")
    return name in inspect.signature(get_object(plain[part]["_target_"])).parameters


def _check_codes(plain: dict[Any, Any], of_model: Sequence[str]) -> None:
    """Refuse a decoder that cannot be without codes where the model has none."""
    decoder = plain["decoder"] if "decoder" in of_model and "prior" not in of_model else {}
    if decoder.get("latent_dim") != 0 or _is_codeless(decoder["_target_"]):
        return
    works = [choice for choice, target in choices("decoder").items() if _is_codeless(str(target))]
    name = shown("decoder._target_", decoder["_target_"])
    raise ConfigError("decoder", name, f"does not work without codes; use {' or '.join(works)}")


def _is_codeless(target: str) -> bool:
    """Whether a decoder may have codes of length 0."""
    of_length = typing.get_type_hints(get_object(target).__init__, include_extras=True).get("latent_dim")
    return of_length == CodeLength


def _require_parts(plain: dict[Any, Any], keys: Iterable[str]) -> None:
    for key in keys:
        if not _is_part(plain.get(key)):
            raise ConfigError(key, plain.get(key), "must be a part with a _target_")


def _is_part(node: Any) -> bool:
    return isinstance(node, dict) and "_target_" in node


def _check_together(plain: dict[Any, Any]) -> None:
    """Refuse values that are allowed alone, but not together."""
    trainer, fused = plain["trainer"], plain["optimizer"].get("fused")
    check_values(trainer)
    precision = str(trainer.get("precision"))
    if fused and trainer.get("gradient_clip_val") and precision in MIXED:
        reason = f"a fused optimiser leaves no gradient to clip under trainer.precision={precision}; use false"
        raise ConfigError("optimizer.fused", fused, reason)
    _check_start(plain)
    if plain.get("inference") and plain.get("encoder"):
        _check_inference(plain)


def _check_start(plain: dict[Any, Any]) -> None:
    """Refuse weights to start from where nothing is trained, and a word about them where there are none."""
    start, task = plain.get("init_from"), plain.get("task")
    if start and task != "train":
        raise ConfigError("init_from", start, f"task={task} trains nothing; leave it out")
    if not start and plain.get("init_strict") is False:
        raise ConfigError("init_strict", "false", "says how the weights of init_from=FOLDER must fit; add that")


def _check_inference(plain: dict[Any, Any]) -> None:
    """Refuse an encoder beside an inference without one, the reverse, and what has no effect or no meaning then."""
    targets = {name: str((plain.get(name) or {}).get("_target_")) for name in ("encoder", "inference", "loss", "prior")}
    encoder, inference, loss, prior = (shown(f"{name}._target_", target) for name, target in targets.items())
    takes_encoder = get_object(targets["inference"]).takes_encoder
    if takes_encoder != get_object(targets["encoder"]).has_network:
        works = "starts from an encoder; use encoder=mlp" if takes_encoder else "has no encoder; leave it out"
        raise ConfigError("encoder", encoder, f"inference={inference} {works}")
    if takes_encoder:
        return
    if prior == "vamp":
        raise ConfigError("prior", prior, f"its components come from an encoder, and inference={inference} has none")
    if loss == "dreg":
        reason = f"changes only the gradient of an encoder, and inference={inference} has none; use loss=iwae"
        raise ConfigError("loss", loss, reason)
    for name, neutral in (("coeff", 1), ("warmup_epochs", 0), ("free_bits", 0)):
        value = plain["loss"].get(name, neutral)
        if value != neutral:
            reason = f"inference={inference} climbs the ELBO itself, with no encoder that another weight would change"
            raise ConfigError(f"loss.{name}", value, f"{reason}; use {neutral}")


def _check_node(key: str, node: Any) -> None:
    """Check the arguments of a node that names a target, and of the nodes inside it."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            _check_node(f"{key}[{index}]", child)
    if not isinstance(node, dict):
        return
    ours = OURS if key == "trainer" else {}
    arguments = {name: value for name, value in node.items() if not name.startswith("_") and name not in ours}
    if "_target_" in node:
        check_arguments(key, node["_target_"], arguments)
    for name, value in arguments.items():
        _check_node(f"{key}.{name}", value)


def check_arguments(key: str, target: str, arguments: dict[str, Any]) -> None:
    """Check plain values against the annotations of a constructor's or a function's arguments.

    Args:
        key: key of the part, for messages.
        target: its name with dots.
        arguments: value of each argument.

    Raises:
        ConfigError: names the key, its value and what is allowed.
    """
    found = get_object(target)
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    signature = inspect.signature(found).parameters.values()
    parameters = [of.name for of in signature if of.kind not in variable]
    takes_any = any(of.kind == inspect.Parameter.VAR_KEYWORD for of in signature)
    hints = hints_of(found) | OF_OTHERS.get(target, {})
    for name, value in arguments.items():
        if name not in parameters and not takes_any:
            meant = did_you_mean(f"{key}.{name}", [f"{key}.{parameter}" for parameter in parameters])
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
        raise ConfigError(key, value, " or ".join(dict.fromkeys(map(_reason, error.errors()))), example=True) from error


def _reason(error: ErrorDetails) -> str:
    """What pydantic found wrong, as the end of a message that begins with the key and its value.

    >>> _reason({"type": "too_short", "msg": "List should have at least 1 item after validation, not 0"})
    'must have at least 1 item'
    """
    if error["type"] in ("list_type", "tuple_type"):
        return "must be a list, its entries between [ and ]"
    message = re.sub(r"^\w+ should (be|have)", r"must \1", error["msg"])
    return re.sub(r" after validation, not \d+$", "", message)
