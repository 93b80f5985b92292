"""The settings of a run as columns of a table over many runs: each run has a value of one kind in each column."""

import types
import typing
from functools import cache
from typing import Annotated, Any, Literal, Union

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.check import LIMITS
from vae_lab.config.hints import hints_of
from vae_lab.config.settings import APART, CLASS, Leaves, follows, name_of, settings_of, shown
from vae_lab.paths import CONF

Column = float | int | str

NONE = (None, "none")
NO_ARGUMENT = "–"  # in a column of texts; in a column of numbers it is 0


def columns_of(config: DictConfig) -> dict[str, Column]:
    """A value for each setting that a run of the same groups can have.

    In a column of numbers, 0 is what has no number: null, none, and an argument that the chosen part does not take.

    Args:
        config: config of the run, resolved.
    """
    settings = {key: value for key, value in settings_of(config).items() if _is_setting(key)}
    found = {
        name_of(key): _in_column(key, value, config) for key, value in settings.items() if not follows(key, [settings])
    }
    followers = {name_of(key) for key in settings}
    for group in (name for name in map(str, config) if f"{name}." not in APART):
        for name, value in _of_all_choices(group).items():
            if name not in followers:
                found.setdefault(name, value)
    return found


def _is_setting(key: str) -> bool:
    return key != "task" and not key.endswith("._partial_")


def _in_column(key: str, value: Any, config: DictConfig) -> Column:
    allowed = _annotation(key, config)
    if not (_is_number(value) if allowed is None else _is_numeric(allowed)):
        # a part that was left out has no class to be known by
        return "none" if value is None and (CONF / key).is_dir() else shown(key, value)
    return 0 if value in NONE else value


@cache
def _of_all_choices(group: str) -> dict[str, Column]:
    """What a run shows under each key of a group's choices that its own choice lacks."""
    found: dict[str, Column] = {}
    files = sorted((CONF / group).glob("*.yaml"))
    for file in (file for file in files if "@package _global_" not in file.read_text(encoding="utf-8")):
        node = _loaded(group, file.stem)
        config = OmegaConf.create({group: node})
        for key, value in _plain_settings(config).items():
            column = _in_column(key, value, config)
            nothing = "none" if key.endswith(CLASS) else NO_ARGUMENT
            found.setdefault(name_of(key), nothing if isinstance(column, str) else 0)
    return found


def _loaded(group: str, choice: str) -> DictConfig:
    """A choice with the choices of its group that it builds on."""
    node = OmegaConf.load(CONF / group / f"{choice}.yaml")
    assert isinstance(node, DictConfig)
    bases = [base for base in node.pop("defaults", []) if isinstance(base, str) and base != "_self_"]
    merged = OmegaConf.merge(*(_loaded(group, base) for base in bases), node)
    assert isinstance(merged, DictConfig)
    return merged


def _plain_settings(config: DictConfig) -> Leaves:
    """The settings of a choice, without those that follow other keys and parts that it leaves out."""
    return {
        key: value
        for key, value in settings_of(config).items()
        if _is_setting(key) and not str(value).startswith("${") and (value is not None or _annotation(key, config))
    }


def _annotation(key: str, config: DictConfig) -> Any:
    """The annotation of the argument that a value becomes; None where there is none."""
    if key in LIMITS:
        return LIMITS[key]
    parent, _, name = key.rpartition(".")
    node = OmegaConf.select(config, parent) if parent else None
    target = node.get("_target_") if isinstance(node, DictConfig) else None
    return _hints(target).get(name) if target and not name.startswith("_") else None


@cache
def _hints(target: str) -> dict[str, Any]:
    return hints_of(get_object(target))


def _is_numeric(annotation: Any) -> bool:
    """Whether a column of such values holds numbers: each is one, or stands for none.

    >>> _is_numeric(Annotated[int, "at least 1"] | None), _is_numeric(int | Literal["none"])
    (True, True)
    >>> _is_numeric(int | Literal["auto"]), _is_numeric(bool), _is_numeric(list[int])
    (False, False, False)
    """
    kinds = _kinds(annotation) - {types.NoneType, "none"}
    return bool(kinds) and kinds <= {int, float}


def _kinds(annotation: Any) -> set[Any]:
    """The types that an annotation allows, with texts among literal values as they are."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _kinds(arguments[0])
    if origin in (Union, types.UnionType):
        return set().union(*map(_kinds, arguments))
    if origin is Literal:
        return {value if isinstance(value, str) else type(value) for value in arguments}
    return {types.NoneType if annotation is None else annotation}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
