"""One line for each mistake: what Hydra, OmegaConf or a task raised, with what it is about and the remedy."""

import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, InterpolationKeyError

from vae_lab.arguments import FOLDERS
from vae_lab.config.keys import HEAD, RECIPES, WITH_NONE, did_you_mean, nearest, of_others, origin_of
from vae_lab.config.settings import key_of
from vae_lab.errors import ConfigError, UserError, to_install, unusable
from vae_lab.paths import CONF, RUNS

PLUGINS = {  # plugins that our presets need: the choice, and the package to install
    "hydra/launcher/joblib": ("hydra/launcher=parallel", "hydra-joblib-launcher"),
    "hydra/launcher/submitit_slurm": ("hydra/launcher=slurm", "hydra-submitit-launcher"),
}


def complaint(error: BaseException, overrides: Sequence[str]) -> str:
    """One line for an error that Hydra or OmegaConf explains in several.

    Args:
        error: exception that was raised.
        overrides: overrides of the command line.
    """
    chain = _chain(error)
    mistake = next((found for found in chain if isinstance(found, UserError)), None)
    if mistake is not None:
        return _of_user(mistake, overrides)
    missing = next((found for found in chain if isinstance(found, ImportError)), None)
    if missing is not None:
        return to_install(missing)
    # of Hydra's own errors some are an OSError too
    system = next((found for found in chain if isinstance(found, OSError) and found.filename), None)
    if system is not None:
        return _of_system(system, overrides)
    return _of_choice(error, overrides) or _of_key(error, overrides) or _of_grammar(error, overrides) or _said(error)


def _of_system(error: OSError, overrides: Sequence[str]) -> str:
    """A file or folder that the system does not let us use, and the key that names it."""
    line = unusable(error)
    file = Path(str(error.filename)).absolute()
    named = (word.partition("=") for word in overrides if key_of(word) in FOLDERS)
    keys = [key.lstrip("+") for key, _, path in named if file.is_relative_to(Path(path.strip("'")).absolute())]
    default = ["hydra.run.dir"] if file.is_relative_to(RUNS.absolute()) else []
    key = next(iter(keys + default), None)
    return f"{line} with {key}=FOLDER" if key and line.endswith("another") else line


def _chain(error: BaseException | None) -> list[BaseException]:
    """An exception, and those that it was raised from."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__  # OmegaConf hides what a resolver raised
    return found


def _said(error: BaseException) -> str:
    return " ".join((str(error) or str(error.__cause__)).split())


def _of_user(mistake: UserError, overrides: Sequence[str]) -> str:
    """A mistake in a value, with the file that it stands in and an example, where these are known."""
    if not isinstance(mistake, ConfigError):
        return str(mistake)
    line = str(mistake)
    for taken in overrides:
        if taken.startswith("~") and (key_of(taken) == mistake.key or f"key '{key_of(taken)}' not found" in line):
            return f"{line}; leave {taken} out"
    origin = origin_of(mistake.key)
    if origin is not None:
        file, group = origin
        line += f" (from {_shown(file)})"
        name = mistake.key.partition(".")[0]
        if group in RECIPES and "there is no key" in line and not (CONF / name).is_dir() and "." in mistake.key:
            line += f"; the first line of this file must be '{HEAD}'"
    default = _defaults().get(mistake.key) if mistake.example else None
    return line if default is None else f"{line}; for example {shlex.quote(f'{mistake.key}={default}')}"


# --- choices of a group ---------------------------------------------------------------------------------------


def _of_choice(error: BaseException, overrides: Sequence[str]) -> str | None:
    """About what a group is set to."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in PLUGINS:
        preset, package = PLUGINS[error.missing_cfg_file]
        return f"{preset}: needs a plugin that is not installed; pip install {package}"
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        options = list(error.options)
        meant = nearest(choice, options)
        near = f", did you mean {meant}?" if meant else ""
        return f"{group}={choice}: there is no such choice{near}; allowed: {', '.join(options)}"
    groups = [key_of(given) for given in overrides]
    odd = next((o for o in overrides if _is_odd_choice(o) and groups.count(key_of(o)) == 1), None)
    if odd is not None:
        group = key_of(odd)
        none = f"; to have no {group}, use {group}=none" if group in WITH_NONE else ""
        none = ", or left out" if group in RECIPES else none
        return f"{odd}: must be one of {', '.join(_choices(group))}{none}"
    return None


def _choices(group: str) -> list[str]:
    """The choices of a group; none where there is no such group."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _is_odd_choice(override: str) -> bool:
    """Whether it gives a group something that cannot be the name of a choice.

    Hydra raises a ValueError or a TypeError for these, which does not name the override.
    """
    group, equals, choice = override.partition("=")
    if not equals or not group.isidentifier() or not _choices(group):
        return False
    return choice == "null" or not re.fullmatch(r"[\w/]+(,[\w/]+)*", choice.strip("'\""))


# --- keys -----------------------------------------------------------------------------------------------------


def _of_key(error: BaseException, overrides: Sequence[str]) -> str | None:
    """About a key that there is not, or not any more."""
    taken = next((given for given in overrides if given.startswith("~") and f"'{key_of(given)}'" in str(error)), None)
    if taken is not None and "Could not delete" in str(error):
        key = key_of(taken)
        known = _defaults()
        reason = "has no value, and needs not to be taken away" if key in known else _no_key(key, list(known))
        return f"{taken}: {reason}"
    found = next((f for f in _chain(error) if isinstance(f, ConfigAttributeError | ConfigKeyError)), None)
    lost = next((f for f in _chain(error) if isinstance(f, InterpolationKeyError)), None)
    if found is None and lost is None:
        return None
    name = re.search(r"key '([\w.]+)'", str(lost))
    key = str(found.full_key) if found is not None else name[1] if name else ""
    taken = next((given for given in overrides if given.startswith("~") and key_of(given) == key), None)
    if taken is not None:
        return f"{taken}: the program needs {key}; leave this out"
    if found is None:
        return None
    file = re.match(r"In '([^']+)'", str(error))
    typed = next((o for o in overrides if o.lstrip("+~").startswith((f"{key}=", f"{key}."))), key)
    where = f" (from {file[1]}.yaml)" if file else ""
    reason = _of_class(key, typed, overrides) or _not_of_choice(key, overrides) or _no_key(key, list(_defaults()))
    reason += where
    return f"{typed}: {reason}{'' if reason.endswith('?') else ';'} --cfg {_scope(key)} lists all of them"


def _of_class(key: str, typed: str, overrides: Sequence[str]) -> str | None:
    """About an argument of a class that the command names itself, which the choice's file does not give."""
    part = key.rpartition(".")[0]
    is_named = any(key_of(word) == f"{part}._target_" for word in overrides)
    return f"the choice of {part} does not give it; write +{typed}" if part and is_named else None


def _not_of_choice(key: str, overrides: Sequence[str]) -> str | None:
    """About an argument that the usual choice of a group takes, and the one that was chosen does not."""
    group, _, name = key.partition(".")
    chosen = next((word.partition("=")[2] for word in overrides if word.startswith(f"{group}=")), None)
    if key not in _defaults() or chosen is None:
        return None
    return f"{group}={chosen} takes no {name}"


def _no_key(key: str, known: Sequence[str]) -> str:
    group, _, name = key.partition(".")
    elsewhere = of_others(name, group) if name else ""
    if elsewhere:
        return f"there is no such key{elsewhere}"
    return f"there is no key {key}" + ("" if key.startswith("hydra.") else did_you_mean(key, known))


def _scope(key: str) -> str:
    return "hydra" if key.startswith("hydra.") else "job"


@cache
def _defaults() -> Mapping[str, Any]:
    """Every key of the default configuration, with dots, and its value; None for what holds further keys."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config")
    plain = OmegaConf.to_container(config, resolve=True)
    found: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        for key, value in node.items():
            found[f"{prefix}{key}"] = None if isinstance(value, dict) else value
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")

    walk(plain, "")
    values = {key: str(v).replace(" ", "") if isinstance(v, list) else v for key, v in found.items()}
    return MappingProxyType(values)


# --- grammar --------------------------------------------------------------------------------------------------


def _of_grammar(error: BaseException, overrides: Sequence[str]) -> str | None:
    """About a word that Hydra cannot read, or reads as several values."""
    said = _said(error)
    if "requires --multirun" in said or "Ambiguous value" in said:
        return _of_sweep(next((word for word in overrides if f"'{word}'" in said), ""))
    given = error.override if isinstance(error, OverrideParseException) else _unreadable(overrides)
    if given is None or not isinstance(error, HydraException) or isinstance(error, InstantiationException):
        return None
    reason = re.sub(r"Error parsing override '.*?'(?= )|See https?:\S+ for details", "", said).strip()
    key, equals, value = given.partition("=")
    if not equals:
        before = next((one for one, word in pairwise(overrides) if word == given), None)
        whole = f"; if it belongs to the word before, write {shlex.quote(f'{before} {given}')}" if before else ""
        return f"{given}: {reason}; a setting is written key=value{whole}"
    if any(value.count(left) != value.count(right) for left, right in ("[]", "()", "{}")):
        return f"{given}: a bracket has no partner ({reason})"
    outer, inner = ('"', "'") if "'" not in value else ("'", '"')
    return f"{given}: cannot be read ({reason}); as a text it is written {outer}{key}={inner}{value}{inner}{outer}"


def _of_sweep(given: str) -> str:
    """About several values in a single run."""
    key, _, value = given.partition("=")
    if re.match(r"(tag\(.*)?interval\(", value):
        return f"{given}: only a search chooses from an interval; add sweep=search"
    if re.match(r"\w+\(", value):
        return f"{given}: several values are for the runs of a sweep; add -m"
    as_list = shlex.quote(f"{key}=[{value}]")
    return f"{given}: several values are for the runs of a sweep, add -m; a list is written {as_list}"


def _unreadable(overrides: Sequence[str]) -> str | None:
    """The first override that Hydra's grammar does not have."""
    for override in overrides:
        try:
            OverridesParser.create().parse_override(override)
        except HydraException:
            return override
    return None


def _shown(file: Path) -> Path:
    return file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file
