"""Keyword arguments of a Python call as words of the command line."""

import math
from collections.abc import Mapping, Sequence
from numbers import Number
from pathlib import Path
from typing import Any

import hydra
from omegaconf import OmegaConf

from vae_lab.config.keys import KNOWN_AS, did_you_mean, of_others, primary
from vae_lab.config.settings import NESTED, in_grammar, key_of
from vae_lab.errors import ConfigError, UserError
from vae_lab.paths import CONF

Setting = str | float | bool | Path | Sequence[Any] | None
"""A value of a key: a text, a number, a folder, a list of these, true, false or none."""


def words_of(overrides: Sequence[str], settings: Mapping[str, Setting]) -> list[str]:
    """The words of the command line that say the same as the arguments of a call.

    A keyword is a group or a key at the top of the config (``prior``, ``latent_dim``), a key with dots, or the last
    name of one key only (``max_epochs`` of ``trainer.max_epochs``).

    Args:
        overrides: words as they are typed on the command line.
        settings: value of each keyword.

    Raises:
        ConfigError: names a keyword that is no key, or the last name of several keys.
    """
    for word in overrides:
        if not isinstance(word, str) or ("=" not in word and not word.startswith("~")):
            raise UserError(
                f"{word!r}: positional arguments are words of the command line, such as 'optimizer.lr=0.01'"
            )
        if word.startswith("-"):
            raise UserError(f"{word}: a call makes one run; options and sweeps are for the command line")
    whole = {name: value for name, value in settings.items() if "." in name or is_at_top(name)}
    words = [*overrides, *(_word(name, value) for name, value in whole.items())]
    short = {name: value for name, value in settings.items() if name not in whole}
    if short:
        keys = _keys(words)
        words += [_word(_key_named(name, value, keys), value) for name, value in short.items()]
    return words


def is_at_top(name: str) -> bool:
    """Whether it is a group, or a key at the top of the config."""
    return name in primary() or (CONF / name).is_dir() or name == "again"


def _word(key: str, value: Setting) -> str:
    text = _plain(key, value)
    is_choice = isinstance(text, str) and (CONF / key.replace(".", "/")).is_dir()
    return f"{key}={text if is_choice else in_grammar(text)}"


def _plain(key: str, value: Any) -> Any:
    """A value without types that Hydra's grammar does not have."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(key, entry) for entry in value]
    if isinstance(value, Number) and not isinstance(value, int | float) and hasattr(value, "item"):
        value = value.item()  # a number of numpy
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ConfigError(key, value, f"must be a text, a number or a list of them, and it is a {type(value).__name__}")


def _keys(words: Sequence[str]) -> list[str]:
    """The keys with dots of the config that these words compose, as a person types them."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [word for word in words if key_of(word) not in ("again", "resume")])
    plain = OmegaConf.to_container(config, resolve=False)
    apart = (*(f"{key}." for key in NESTED), "evaluation.")  # which follow other parts, or have no effect in training
    found = []

    def walk(node: Any, prefix: str) -> None:
        for name, value in node.items():
            if isinstance(value, dict):
                walk(value, f"{prefix}{name}.")
            elif not str(name).startswith("_"):
                found.append(f"{prefix}{name}")

    walk(plain, "")
    return [key for key in found if not f"{key}.".startswith(apart)]


def _key_named(name: str, value: Setting, keys: Sequence[str]) -> str:
    """The one key whose last name this is."""
    found = [key for key in keys if key.rpartition(".")[2] == name]
    if len(found) == 1:
        return found[0]
    if found:
        either = " or ".join(f"'{key}=…'" for key in found)
        raise ConfigError(name, value, f"there are {len(found)} keys of this name; give one as a word, {either}")
    meant = f", did you mean {KNOWN_AS[name]}?" if name in KNOWN_AS else of_others(name) or did_you_mean(name, keys)
    raise ConfigError(name, value, f"there is no such key{meant}")
