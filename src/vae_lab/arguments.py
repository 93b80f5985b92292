"""The words of the command line, brought into the form that Hydra takes: what has no meaning is refused here."""

import os
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import QuotedString
from hydra.errors import HydraException

from vae_lab.config import again
from vae_lab.config.keys import WITH_NONE
from vae_lab.config.settings import key_of
from vae_lab.errors import UserError
from vae_lab.paths import CONF, argument, expanded, quoted
from vae_lab.sweeps.folders import EVALUATION

FOLDERS = ("run_dir", "resume", "init_from", "sweep_dir", "data.root", "data.file", "hydra.run.dir", "hydra.sweep.dir")
AS_TEXT = (*FOLDERS, "report.baseline")  # keys whose values Hydra's grammar would take apart
SWEPT_FOLDERS = ("run_dir", "init_from", "data.root", "data.file")  # those that may differ between the runs of a sweep
NOTHING = ("", "null", "none", "None", "[]", "{}", "false")  # ways to write that a group has no member


def prepared(words: Sequence[str]) -> list[str]:
    """The words of a command, options first, with folders quoted and ``again=`` replaced by a run's settings.

    Args:
        words: words after the program's name.

    Raises:
        UserError: for an option or a word without meaning.
    """
    given = _parsed(words)
    overrides = list(given.overrides)
    _refuse_broken_lists(overrides)
    _refuse_other_configs(given, overrides)
    _show_own_choices(given, overrides)
    for override in overrides:
        _refuse_nothing(override)
    overrides = _with_saved_config(overrides, bool(given.multirun))
    overrides = _with_runs_of_sweep(overrides, given)
    return [*_options(given), *(_folder_quoted(override, bool(given.multirun)) for override in overrides)]


def _parsed(words: Sequence[str]) -> Namespace:
    """Options and overrides, in whatever order they are given."""
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; settings are written key=value, and --help lists options and settings")

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(list(words))


def _options(given: Namespace) -> list[str]:
    """The options of a command, as words."""
    parser: ArgumentParser = get_args_parser()
    found = []
    for action in parser._actions:
        value = getattr(given, action.dest, None)
        if action.option_strings and value not in (None, False):
            found += [action.option_strings[0], *([] if value is True else [str(value)])]
    return found


# --- configs that are not vae_lab's ---------------------------------------------------------------------------


def _refuse_other_configs(given: Namespace, overrides: Sequence[str]) -> None:
    """Refuse a config that would be ignored, or that lacks what the program needs; name the way to use it."""
    if given.config_path is not None:
        reason = "vae_lab uses its own configs; add yours with --config-dir FOLDER"
        raise UserError(f"--config-path {given.config_path}: {reason}{_to_run(Path(expanded(given.config_path)))}")
    folder = None
    if given.config_dir is not None:
        given.config_dir = expanded(given.config_dir)
        folder = Path(given.config_dir)
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder}: there is no such folder; give the one that your configs are in")
        _refuse_hidden(folder)
    for path in _search_path(overrides):
        _refuse_hidden(path)
    if given.config_name not in (None, "config", "config.yaml"):
        _check_primary(given.config_name, folder)


def _search_path(words: Sequence[str]) -> list[Path]:
    """The folders of ``hydra.searchpath=[file://FOLDER]``, the last of them where there are several."""
    named = [word.partition("=")[2] for word in words if key_of(word) == "hydra.searchpath"]
    return [Path(expanded(path)) for path in re.findall(r"file://([^,\]'\"]+)", named[-1])] if named else []


def _show_own_choices(given: Namespace, overrides: Sequence[str]) -> None:
    """Let --help and the Tab key know the choices of a person's own folder.

    Hydra looks at ``hydra.searchpath`` only when it composes a config, and completes a line without its options.
    """
    if given.config_dir is not None or not (given.help or given.shell_completion):
        return
    line = os.environ.get("COMP_LINE", "") if given.shell_completion else ""
    named = re.findall(r"(?:--config-dir|-cd)[ =]+(\S+)", line)
    folders = [Path(expanded(path)) for path in named] or _search_path([*overrides, *line.split()])
    given.config_dir = next((str(folder) for folder in folders if folder.is_dir()), None)


def _refuse_hidden(folder: Path) -> None:
    """Refuse files that have the name of one of our configs: Hydra would use ours in their place."""
    ours = [file.relative_to(CONF) for file in sorted(CONF.rglob("*.yaml"))]
    for name in ours:
        file = folder / name
        if file.is_file() and file.read_bytes() != (CONF / name).read_bytes():
            reason = "vae_lab's own config of this name would be used in its place"
            raise UserError(f"--config-dir {folder}: {name}: {reason}{_to_run(file) or '; give it another name'}")


def _check_primary(name: str, folder: Path | None) -> None:
    """Check the file that ``--config-name`` names."""
    file = (folder or Path()) / f"{name.removesuffix('.yaml')}.yaml"
    if folder is None or not file.is_file():
        where = "--config-dir FOLDER says where yours is" if folder is None else f"there is no {file}"
        raise UserError(f"--config-name {name}: {where}; without this option vae_lab uses its own")
    if not re.search(r"^defaults:", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        reason = "has no defaults list; begin it with 'defaults: [config, _self_]'"
        raise UserError(f"--config-name {name}: {file}: {reason}{_to_run(file)}")


def _to_run(path: Path) -> str:
    """How a saved config is run again; nothing where the path is none."""
    file = path / "config.yaml" if path.is_dir() else path
    return f"; to run this saved config again: {argument('again', path)}" if again.is_saved(file) else ""


def _with_saved_config(overrides: list[str], is_multirun: bool) -> list[str]:
    """Put the settings of a saved config in the place of ``again=``."""
    named = [override for override in overrides if key_of(override) == "again"]
    if not named:
        return overrides
    path = named[-1].partition("=")[2].strip("'\"")
    rest = [override for override in overrides if override not in named]
    saved = again.overrides_of(path, rest)
    # the runs of a sweep are named by what differs between them
    apart = ["sweep", "sweep_dir", "report.baseline", "trust", *dict.fromkeys(map(key_of, saved))]
    names = [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(apart)}]"] if is_multirun else []
    return [*names, *saved, *rest]


def _with_runs_of_sweep(overrides: list[str], given: Namespace) -> list[str]:
    """The runs of the sweep that ``task=evaluate sweep_dir=…`` names: the command becomes a multirun over them."""
    said = {key_of(override): override.partition("=")[2].strip("'\"") for override in overrides}
    if said.get("task") != "evaluate" or "run_dir" in said or not said.get("sweep_dir"):
        return overrides
    from vae_lab.sweeps.evaluation import finished_runs  # late: it takes a while to import

    folder = expanded(said["sweep_dir"])
    runs = ",".join(quoted(str(run)) for run in finished_runs(folder))
    given.multirun = True
    return [*overrides, f"run_dir={runs}", f"hydra.sweep.dir={Path(folder) / EVALUATION}"]


# --- single words ---------------------------------------------------------------------------------------------


def _refuse_nothing(override: str) -> None:
    """Refuse the ways to take a group away that do not do it; a group without members is a choice."""
    key, _, value = override.partition("=")
    group = key.lstrip("+~")
    is_taken_away = key.startswith("~") or value.strip("'\" ") in NOTHING
    if group in WITH_NONE and is_taken_away and override != f"{group}=none":
        raise UserError(f"{override}: to have no {group}, use {group}=none")


def _refuse_broken_lists(overrides: Sequence[str]) -> None:
    """Refuse a list, or anything in brackets, that a shell cut into several words."""
    for index, word in enumerate(overrides):
        for end in range(index + 1, len(overrides)):
            whole = " ".join(overrides[index : end + 1])
            if _is_open(word) and not _is_open(whole):
                written = shlex.quote(re.sub(r"(?<=[\[({,])\s+|\s+(?=[\])},])", "", whole))
                raise UserError(f"{whole}: the shell takes this for {end - index + 1} words; write {written}")


def _is_open(text: str) -> bool:
    """Whether a text has brackets that it does not close."""
    return any(text.count(left) > text.count(right) for left, right in ("[]", "()", "{}")) and "'" not in text


def _folder_quoted(override: str, is_multirun: bool) -> str:
    """An override; a folder with ~ as the home folder, and it and a baseline as a text that Hydra does not parse."""
    key, equals, path = override.partition("=")
    name = key.lstrip("+")
    if name not in AS_TEXT or not equals or key.startswith("~"):
        return override
    home = expanded(path)
    is_sweep = is_multirun and name in SWEPT_FOLDERS and "," in path and not Path(home).exists()
    if is_sweep or _is_taken_as_it_is(f"{key}={home}"):
        return f"{key}={home}"
    return f"{key}={quoted(home)}"


def _is_taken_as_it_is(override: str) -> bool:
    """Whether Hydra takes the value for a text or for nothing, and not for a number, a list or several values."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    if isinstance(parsed._value, QuotedString):
        return True
    value = None if parsed.is_sweep_override() else parsed.value()
    is_plain = isinstance(value, str) and (value == override.partition("=")[2] or "\\" in override or "${" in value)
    return not parsed.is_sweep_override() and (value is None or is_plain)
