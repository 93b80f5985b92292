"""The config and the overrides that a run folder holds, read as plain values."""

import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lab.errors import RunFolderError
from vae_lab.files.checks import read_text

LARGEST_CONFIG = 100_000  # bytes; ours have about 3,000
DEEPEST_CONFIG = 20  # levels; ours have three
LONGEST_OVERRIDE = 1000  # characters

# Modules that configs of the first edition name, and where their classes are now.
FORMER_MODULES = {
    "vae_lab.callbacks.": "vae_lab.training.callbacks.",
    "vae_lab.loggers.": "vae_lab.training.loggers.",
    "vae_lab.schedulers.": "vae_lab.training.schedulers.",
}


def read_config(file: Path) -> DictConfig:
    """A saved config as plain values: everything in it was resolved when it was written.

    Args:
        file: path of a ``config.yaml``.

    Raises:
        FileNotFoundError: if there is none.
        RunFolderError: if it is damaged, or uses what a saved config never does: interpolations, which could read
            this machine's environment, aliases, which could make it endless, tags and missing values.
    """
    text = read_text(file, LARGEST_CONFIG)
    try:
        _check_events(text)
        config = OmegaConf.create(text)
    except (ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = " ".join(str(error).split())
        raise RunFolderError(f"{file}: cannot be read as a config ({reason})") from error
    if not isinstance(config, DictConfig):
        raise RunFolderError(f"{file}: cannot be read as a config (it holds no keys)")
    plain = OmegaConf.to_container(config, resolve=False)
    problem = _problem(plain, "")
    if problem:
        raise RunFolderError(f"{file}: {problem}")
    return OmegaConf.create(_with_later_parts(_with_current_names(plain)))


def read_overrides(file: Path) -> list[str] | None:
    """The overrides that a run was composed from; None where the file is missing or holds something else.

    Args:
        file: path of an ``overrides.yaml``.
    """
    try:
        text = read_text(file, LARGEST_CONFIG)
        _check_events(text)
        found = yaml.safe_load(text)
    except (FileNotFoundError, RunFolderError, ValueError, yaml.YAMLError):
        return None
    is_plain = isinstance(found, list) and all(
        isinstance(override, str) and len(override) <= LONGEST_OVERRIDE and override.isprintable() for override in found
    )
    return found if is_plain else None


def _with_current_names(node: Any) -> Any:
    """A config of the first edition with the names that its targets have now."""
    if isinstance(node, list):
        return [_with_current_names(child) for child in node]
    if not isinstance(node, dict):
        return node
    found = {name: _with_current_names(child) for name, child in node.items()}
    target = str(found.get("_target_"))
    former = next((prefix for prefix in FORMER_MODULES if target.startswith(prefix)), None)
    return found | {"_target_": target.replace(former, FORMER_MODULES[former], 1)} if former else found


def _with_later_parts(config: dict[str, Any]) -> dict[str, Any]:
    """A config of the first edition with the parts that every model had then."""
    encoder = config.get("encoder")
    if "model" in config or not isinstance(encoder, dict) or "latent_dim" not in encoder:
        return config
    posterior = {"_target_": "vae_lab.posteriors.DiagonalNormal", "latent_dim": encoder["latent_dim"]}
    # oneDNN multiplied wherever it kept full precision
    of_vae = {"model": {"_target_": "vae_lab.models.VAE"}, "posterior": posterior, "matmul": "onednn"}
    return config | of_vae | {"encoder": encoder | {"posterior": posterior}}


def _check_events(text: str) -> None:
    """Refuse what would take much memory or depth once the text is composed."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases are not used here")
        if isinstance(event, yaml.NodeEvent) and getattr(event, "tag", None):
            raise ValueError(f"tags such as {event.tag} are not used here")
        if depth > DEEPEST_CONFIG:
            raise ValueError(f"deeper than {DEEPEST_CONFIG} levels")


def _problem(node: Any, key: str) -> str | None:
    """What a saved config never holds, and where; None where there is no such thing."""
    if isinstance(node, dict):
        odd = next((name for name in node if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name)), None)
        if odd is not None:
            return f"{odd!r} is not the name of a key"
        children = {f"{key}.{name}".lstrip("."): child for name, child in node.items()}
    elif isinstance(node, list):
        children = {f"{key}[{index}]": child for index, child in enumerate(node)}
    elif isinstance(node, str) and "${" in node:
        return f"{key}={node}: interpolations are not resolved in a run folder, and a saved config has none"
    elif node == "???":
        return f"{key} has no value"
    else:
        return None
    return next((found for name, child in children.items() if (found := _problem(child, name))), None)
