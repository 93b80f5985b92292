"""A saved config as overrides of a new command: ``again=FOLDER`` runs it once more, in a new folder.

Nothing heavy is imported here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.settings import in_grammar, key_of, leaves, parts_of
from vae_lab.config.trust import OURS, check_names, trusted
from vae_lab.errors import ConfigError, RunFolderError, UserError
from vae_lab.paths import CONF, expanded
from vae_lab.runs.saved_config import read_config

# what a command says, and the run that is repeated does not: which folders, and what follows from the data
OF_COMMAND = ("run_dir", "sweep_dir", "resume", "trust", "image_shape", "hydra", "data.root", "report")
MEMBERS = ("callbacks", "logger")  # groups of any number of parts, each under its name
RECIPES = ("debug", "sweep")  # groups whose files set keys of the whole config
ABSENT = object()

Words = list[str]


def overrides_of(path: str, given: Sequence[str]) -> Words:
    """The overrides that make the config of a run out of the default one.

    Args:
        path: folder of a run, or file with a saved config.
        given: further overrides of the command, which come after these.

    Raises:
        UserError: if there is no such file, it is damaged, or an override has no meaning beside it.
    """
    keys = [key_of(override) for override in given]
    odd = next((override for override, key in zip(given, keys, strict=True) if key in ("experiment", "resume")), None)
    if odd is not None:
        raise UserError(f"{odd}: the config of again={path} is whole; name the keys that are to differ")
    saved = _read(path)
    _check_trust(saved, path, given)
    choices = [f"{group}={choice}" for group, choice in _choices(saved).items()]
    # in two steps, since many values follow those at the top
    top = list(_differences(saved, _composed(choices), depth=1))
    below = list(_differences(saved, _composed([*choices, *top]), depth=20))
    found = [*choices, *top, *below]
    return [word for word in found if not _is_said(key_of(word), [*keys, *_set_by_recipes(given)])]


def _check_trust(saved: DictConfig, path: str, given: Sequence[str]) -> None:
    """Refuse classes of packages that this command does not name in ``trust=``: a saved config is data."""
    words = [word for word in given if key_of(word) == "trust"]
    packages = OverridesParser.create().parse_override(words[-1]).value() if words else []
    try:
        check_names(OmegaConf.to_container(saved), trusted(packages, path))
    except ConfigError as error:
        raise UserError(f"again={path}: {error}") from error


def _is_said(key: str, keys: Sequence[str]) -> bool:
    """Whether the command itself gives the key a value, or the part that it belongs to."""
    return any(key == other or key.startswith(f"{other}.") for other in keys)


def _set_by_recipes(given: Sequence[str]) -> list[str]:
    """The keys that the files of ``debug=`` and ``sweep=`` give values to."""
    files = [CONF / key_of(word) / f"{word.partition('=')[2]}.yaml" for word in given if key_of(word) in RECIPES]
    return [key for file in files if file.is_file() for key in leaves(_loaded(file))]


def _loaded(file: Path) -> DictConfig:
    node = OmegaConf.load(file)
    assert isinstance(node, DictConfig)
    return node


def is_saved(file: Path) -> bool:
    """Whether a file holds the config of a run, with every value in it, and not one to be composed with others."""
    try:
        saved = read_config(file)
    except (OSError, RunFolderError):
        return False
    return _is_whole(saved)


def _is_whole(config: DictConfig) -> bool:
    return "defaults" not in config and all(name in config for name in ("task", "seed", "data", "loss"))


def _read(path: str) -> DictConfig:
    place = Path(expanded(path))
    file = place / "config.yaml" if place.is_dir() else place
    try:
        saved = read_config(file)
    except FileNotFoundError as error:
        raise UserError(f"again={path}: there is no {file}; give the folder of a run, or its config.yaml") from error
    if not _is_whole(saved):
        raise UserError(f"again={path}: {file} is not the config of a run; give the folder of one, or its config.yaml")
    return saved


def _choices(saved: DictConfig) -> dict[str, str]:
    """The choices of the groups whose files name the classes of a saved config."""
    found = {group: choice for group, choice in parts_of(saved).items() if (CONF / group / f"{choice}.yaml").is_file()}
    if saved.get("scheduler") is None:
        found["scheduler"] = "none"
    return found


def _composed(overrides: Words) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", overrides)


def _differences(saved: DictConfig, composed: DictConfig, depth: int) -> Iterator[str]:
    """Overrides for the values of a saved config that a composed one has not, down to a number of levels."""
    plain, there = OmegaConf.to_container(saved), OmegaConf.to_container(composed, resolve=True)
    assert isinstance(plain, dict)
    assert isinstance(there, dict)
    for name, value in plain.items():
        if name in there:
            yield from _differences_of(str(name), value, there[name], depth)
    if depth > 1:
        yield from _deletions(plain, there)
        for group in MEMBERS:
            yield from (f"~{group}.{name}" for name in there[group] or {} if name not in (plain.get(group) or {}))


def _deletions(plain: dict[Any, Any], there: dict[Any, Any]) -> Iterator[str]:
    """Overrides that take away what a choice gives to a part, where the saved part is another package's."""
    for group, node in there.items():
        saved = plain.get(group)
        if isinstance(node, dict) and isinstance(saved, dict) and not str(saved.get("_target_", OURS)).startswith(OURS):
            odd = [name for name, value in node.items() if name not in saved and value is not None]
            yield from (f"~{group}.{name}" for name in odd if not name.startswith("_"))  # Hydra cannot take a null away


def _differences_of(key: str, value: Any, there: Any, depth: int) -> Iterator[str]:
    if key in OF_COMMAND and there != "???":  # what a set of a person's own cannot do without
        return
    if isinstance(value, dict) and depth > 1:
        for name, child in value.items():
            below = there.get(name, ABSENT) if isinstance(there, dict) else ABSENT
            yield from _differences_of(f"{key}.{name}", child, below, depth - 1)
    elif not isinstance(value, dict) and value != there:
        yield f"{'+' if there is ABSENT else ''}{key}={in_grammar(value)}"
