"""The keys that a config may have: which there are, which is nearest to another, and which file gives one its value.

Nothing heavy is imported here.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lab.config.settings import NESTED, key_of
from vae_lab.errors import ConfigError
from vae_lab.paths import CONF

RECIPES = ("experiment", "debug", "sweep")  # groups whose files set keys of the whole config
HEAD = "# @package _global_"  # first line of such a file
PLAIN = ("evaluation", "figures")  # groups of values that are no arguments of a part
WITH_NONE = ("logger", "callbacks", "scheduler")  # groups with a choice none
# what the program itself gives to constructors
GIVEN = {
    "optimizer": ("params",),
    "scheduler": ("optimizer", "total_steps"),
    "logger": ("save_dir",),
}

# what people call a key that has another name here
KNOWN_AS = {
    "beta": "loss.coeff",
    "kl_weight": "loss.coeff",
    "learning_rate": "optimizer.lr",
    "epochs": "trainer.max_epochs",
    "gpus": "trainer.devices",
    "z_dim": "latent_dim",
    "latent_size": "latent_dim",
}


def check_keys(plain: Mapping[Any, Any]) -> None:
    """Refuse keys that the program would ignore, and a config that lacks one that it needs.

    The arguments of parts are checked elsewhere, against their constructors.

    Args:
        plain: config of a command, as plain values.

    Raises:
        ConfigError: names the key and the nearest one.
    """
    for name, value in plain.items():
        if name in RECIPES:
            key, leaf = next(_leaves(value, f"{name}."), (name, value))
            raise ConfigError(key, leaf, f"nothing has a place below {name}; a file of {name}/ begins with '{HEAD}'")
        if name not in _top() and name != "hydra":
            raise unknown_key(str(name), value, plain)
    for name in _top():
        if name in WITH_NONE and not isinstance(plain.get(name, []), dict | None):
            raise ConfigError(name, plain.get(name), f"must be names with a part each; to have none, use {name}=none")
        if name not in plain and (name in _values() or name in PLAIN):
            raise ConfigError(name, None, "must be there; the program needs it")
    known = {group: OmegaConf.load(CONF / group / "default.yaml") for group in PLAIN}
    known |= {name: primary()[name] for name in ("training", "report", "explore")}
    for group, names in known.items():
        node = plain[group] or {}
        if not isinstance(node, dict):
            raise ConfigError(group, node, f"must have {', '.join(map(str, names))}")
        for name, value in node.items():
            if name not in names:
                raise unknown_key(f"{group}.{name}", value, plain)
    _check_given(plain)


def _check_given(plain: Mapping[Any, Any]) -> None:
    """Refuse arguments that the program gives itself, and parts in another part's place."""
    from vae_lab.config.targets import parts_of_model  # late: it imports torch

    of_model = {"model": parts_of_model(str((plain.get("model") or {}).get("_target_")))}
    for group, names in (GIVEN | of_model).items():
        nodes = {group: plain.get(group)}
        if group == "logger":
            nodes = {f"{group}.{name}": node for name, node in (plain.get(group) or {}).items()}
        for key, node in nodes.items():
            odd = next((name for name in names if isinstance(node, dict) and name in node), None)
            if odd is not None:
                value = (node or {})[odd]
                raise ConfigError(f"{key}.{odd}", value, "is given by the program; leave it out")
    for key, group in NESTED.items():
        part, _, name = key.partition(".")
        node = (plain.get(part) or {}).get(name)
        if isinstance(node, dict) and "_target_" not in node:
            shown, value = next(_leaves(node, f"{key}."), (key, node))
            raise ConfigError(shown, value, f"this part is that of {group}; write {shown.replace(key, group, 1)}")


def check_hydra_keys() -> None:
    """Refuse keys of this command's Hydra config that Hydra does not have.

    Raises:
        ConfigError: names the key and the nearest one.
    """
    hydra = HydraConfig.get()

    def check(node: Any, key: str) -> None:
        fields = list(getattr(OmegaConf.get_type(node), "__dataclass_fields__", ()))
        for name, value in node.items_ex(resolve=False):
            # a class with nothing but its target is the base of what a plugin offers, as Optuna's samplers
            if fields not in ([], ["_target_"]) and name not in fields and f"hydra/{name}" not in hydra.runtime.choices:
                meant = did_you_mean(f"{key}.{name}", [f"{key}.{field}" for field in fields])
                raise ConfigError(f"{key}.{name}", value, f"Hydra has no such key{meant}")
            if OmegaConf.is_dict(value) and not value._is_none() and not value._is_missing():
                check(value, f"{key}.{name}")

    check(hydra, "hydra")


def unknown_key(key: str, value: Any, plain: Mapping[Any, Any]) -> ConfigError:
    """The error for a key that there is not.

    Args:
        key: the key, with dots.
        value: its value; of a folder of keys, its first leaf is named.
        plain: config that has it.
    """
    known = [name for name, _ in _leaves(plain, "") if name.partition(".")[0] in _top() and name != key]
    known += [name for name in _top() if name not in plain]
    leaf, value = next(_leaves(value, f"{key}."), (key, value)) if isinstance(value, dict) else (key, value)
    return ConfigError(leaf, value, f"there is no key {key}{did_you_mean(key, known)}")


def did_you_mean(key: str, known: Sequence[str]) -> str:
    """The end of a message about an unknown key: the nearest one, or those beside it.

    >>> did_you_mean("latent_dims", ["latent_dim", "loss.coeff"]), did_you_mean("loss.beta", ["loss.coeff"])
    (', did you mean latent_dim?', ', did you mean loss.coeff?')
    >>> did_you_mean("loss.xyz", ["loss._target_", "loss.coeff", "loss.samples"])
    '; loss has coeff, samples'
    """
    found = nearest(key, known)
    if found:
        return f", did you mean {found}?"
    above = key.rpartition(".")[0]
    beside = [name[len(above) + 1 :] for name in known if above and name.startswith(f"{above}.")]
    named = [name for name in beside if not name.startswith("_") and "." not in name]
    return f"; {above} has {', '.join(named)}" if 0 < len(named) <= 15 else ""


def of_others(name: str, of_group: str = "*") -> str:
    """The choices that take an argument which those of a config do not, as the end of a message.

    Args:
        name: the argument.
        of_group: the group whose choices are asked; every one where it is a star.

    >>> of_others("heads"), of_others("haeds"), of_others("file", "data"), of_others("file", "loss")
    (' here: decoder.heads is of decoder=transformer', '', ' here: data.file is of data=arrays', '')
    """
    found: dict[str, list[str]] = {}
    for file in sorted(CONF.glob(f"{of_group}/*.yaml")):
        group = file.parent.name
        if group not in RECIPES and name in list(OmegaConf.load(file)):  # also one without a value yet
            found.setdefault(group, []).append(file.stem)
    told = (f"{group}.{name} is of {group}={' or '.join(choices)}" for group, choices in found.items())
    return f" here: {', '.join(told)}" if found else ""


def nearest(key: str, known: Sequence[str]) -> str | None:
    """The key that was probably meant; None where none is near.

    >>> nearest("lr", ["optimizer.lr"]), nearest("epoch", ["trainer.max_epochs"]), nearest("foo.bar", ["seed"])
    ('optimizer.lr', 'trainer.max_epochs', None)
    """
    keys = sorted((name for name in known if "._" not in name), key=lambda name: name.count("."))
    above, _, last = key.rpartition(".")
    if KNOWN_AS.get(last) in keys:
        return KNOWN_AS[last]
    same = [name for name in keys if name.endswith(f".{last}") or name == last]
    beside = [name for name in keys if above and name.rpartition(".")[0] == above]
    for group in (beside, same, keys):
        names = [name.rpartition(".")[2] for name in group]
        close = difflib.get_close_matches(last, names, n=1, cutoff=0.65)
        if close:
            return group[names.index(close[0])]
    return None


def origin_of(key: str) -> tuple[Path, str] | None:
    """The user's file, or the recipe, that gives a key its value, and the group that it is a choice of.

    Args:
        key: the key, with dots.

    Returns:
        None where the command line gives the value, or no such file is found.
    """
    if not HydraConfig.initialized():
        return None
    hydra = HydraConfig.get()
    given = {key_of(str(override)) for override in hydra.overrides.task} - set(hydra.runtime.choices)
    if any(_touches(name, key) for name in given):
        return None
    for group, choice in hydra.runtime.choices.items():
        for source in hydra.runtime.config_sources:
            file = Path(source.path) / str(group) / f"{choice}.yaml"
            is_own = source.schema == "file" and (Path(source.path) != CONF or group in RECIPES)
            if is_own and file.is_file() and any(_touches(found, key) for found in _keys_of(file, group, str(choice))):
                return file, str(group)
    return None


def _touches(given: str, key: str) -> bool:
    """Whether a given key is the key itself, below it, or above it."""
    return given == key or given.startswith((f"{key}.", f"{key}[")) or key.startswith((f"{given}.", f"{given}["))


def _keys_of(file: Path, group: str, choice: str) -> list[str]:
    """The keys that a file of a group gives values to, where Hydra puts them."""
    try:
        node = OmegaConf.load(file)
    except (OSError, ValueError, OmegaConfBaseException):
        return []
    head = re.match(r"(?:\s*#.*\n)*?\s*#\s*@package\s+(\S+)", file.read_text(encoding="utf-8"))
    inside = f"{group}/{choice}".rpartition("/")[0].replace("/", ".")
    package = head[1] if head else inside
    prefix = "" if package == "_global_" else f"{package}."
    return [name for name, _ in _leaves(OmegaConf.to_container(node), prefix)]


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Every value that is no dictionary, or an empty one, below its key with dots."""
    for name, value in node.items() if isinstance(node, dict) else ():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


@cache
def _top() -> tuple[str, ...]:
    """The names at the top of a config: those of conf/config.yaml, and its groups."""
    groups = [str(name) for entry in primary().defaults if isinstance(entry, DictConfig) for name in entry]
    return (*(name for name in groups if not name.startswith("override ")), *_values())


@cache
def _values() -> tuple[str, ...]:
    """The names of conf/config.yaml that are no group."""
    return tuple(str(name) for name in primary() if name not in ("defaults", "hydra"))


@cache
def primary() -> DictConfig:
    """conf/config.yaml as it is written; for reading only."""
    config = OmegaConf.load(CONF / "config.yaml")
    assert isinstance(config, DictConfig)
    return config
