"""Run folders from anywhere are data: what is read of them before anything is built, and what is refused.

Nothing heavy is imported here: the command line looks at a folder before the log in it is opened.
"""

import re
import stat
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lab.errors import RunFolderError

LARGEST_CONFIG = 100_000  # bytes; ours have about 3,000
DEEPEST_CONFIG = 20  # levels; ours have three


def check_folder(folder: Path) -> None:
    """Hold a folder that will be written to, and everything in it, to plain files and folders.

    A link in it could lead what is written somewhere else, and a pipe would never answer.

    Raises:
        RunFolderError: names the entry.
    """
    for entry in folder.iterdir():
        if stat.S_ISDIR(entry.lstat().st_mode):
            check_folder(entry)
        else:
            check_file(entry)


def check_file(file: Path) -> None:
    """Hold what will be written to, and is there already, to a plain file.

    Raises:
        RunFolderError: names it.
    """
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
        raise RunFolderError(f"{file}: is {kind}; a run folder holds files and folders only, take it out")


def read_text(file: Path, at_most: int) -> str:
    """The text of a file of a run folder.

    Raises:
        FileNotFoundError: if there is none.
        RunFolderError: if it is not a plain file of text, or larger than ``at_most`` bytes.
    """
    if not file.exists():
        raise FileNotFoundError(file)
    if not file.is_file():
        raise RunFolderError(f"{file}: is no plain file")
    if file.stat().st_size > at_most:
        raise RunFolderError(f"{file}: is larger than the {at_most:,} bytes that such a file of ours may have")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{file}: cannot be read as text ({error}); put the original back") from error


def read_config(file: Path) -> DictConfig:
    """A saved config as plain values: everything in it was resolved when it was written.

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
    problem = _problem(OmegaConf.to_container(config, resolve=False), "")
    if problem:
        raise RunFolderError(f"{file}: {problem}")
    return config


def _check_events(text: str) -> None:
    """Refuse what would cost memory or depth once the text is composed."""
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
    """What a saved config would not hold, and where; None where all is well."""
    if isinstance(node, dict):
        odd = next((name for name in node if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name)), None)
        if odd is not None:
            return f"{odd!r} is no name of a key"
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
