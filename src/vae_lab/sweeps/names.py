"""The names of a sweep's runs: their overrides, without those that are constant in the sweep.

What is constant is said by the command that begins a sweep, and kept in its folder, so that each later command
finds the same runs under the same names. A sweep of an earlier version keeps nothing, and its names have everything.

Nothing heavy is imported here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from vae_lab.config.settings import APART_AS_OVERRIDES, key_of
from vae_lab.errors import ConfigError, RunFolderError
from vae_lab.files.atomic import replace_file
from vae_lab.files.checks import read_text
from vae_lab.sweeps.folders import EVALUATION, folder_name

NAMES = ".names.json"  # in the folder of a sweep: its constant overrides by their keys
LARGEST = 100_000  # bytes of that file


def run_name(overrides: Sequence[str], left_out: Sequence[str], sweep_dir: str) -> str:
    """The name of a run's folder.

    Args:
        overrides: overrides of the run.
        left_out: keys that are never part of a name.
        sweep_dir: folder of the sweep.

    Raises:
        RunFolderError: if what the folder keeps of its names is damaged.
    """
    items = [item for item in map(str, overrides) if key_of(item) not in left_out]
    if Path(sweep_dir).name == EVALUATION:  # called by the run that is evaluated
        run_dir = _parsed([item for item in items if key_of(item) == "run_dir"])
        return folder_name(Path(str(next(iter(run_dir.values())).value())).name if run_dir else "")
    constant = _kept(Path(sweep_dir))
    if constant:
        items = [str(each.input_line) for key, each in _parsed(items).items() if constant.get(key) != _value(each)]
    return folder_name(",".join(sorted(items)))


def keep_constants(sweep_dir: Path, overrides: Sequence[Override], left_out: Sequence[str]) -> None:
    """Keep what is constant in a sweep that begins; check a command that continues one.

    Args:
        sweep_dir: folder of the sweep.
        overrides: overrides of all runs of this command.
        left_out: keys that are never part of a name.

    Raises:
        ConfigError: if the command leaves out what is constant in the sweep: its runs would have the names of others.
        RunFolderError: if what the folder keeps of its names is damaged.
    """
    if sweep_dir.name == EVALUATION:
        return
    file = sweep_dir / NAMES
    if not any(entry.is_dir() and not entry.name.startswith(".") for entry in sweep_dir.iterdir()):
        file.unlink(missing_ok=True)
        constant = {each.key_or_group: _value(each) for each in overrides if not each.is_sweep_override()}
        if constant and len(constant) < len(overrides):
            replace_file(file, json.dumps(constant, indent=2) + "\n")
        return
    given = {override.key_or_group for override in overrides}
    for key, value in _kept(sweep_dir).items():
        if key not in given and key not in left_out and not key.startswith(APART_AS_OVERRIDES):
            reason = f"the runs in it have {key}={value}, which this command leaves out; add it, or name another folder"
            raise ConfigError("sweep_dir", str(sweep_dir), reason)


def _kept(sweep_dir: Path) -> Mapping[str, str]:
    file = sweep_dir / NAMES
    try:
        kept = json.loads(read_text(file, LARGEST))
        if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
            raise ValueError("it does not say values by their keys")
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError) as error:
        raise RunFolderError(f"{file}: damaged ({error}); name another folder") from error
    return kept


def _parsed(items: Sequence[str]) -> dict[str, Override]:
    """Overrides by their keys, a later one in place of an earlier one."""
    return {each.key_or_group: each for each in OverridesParser.create().parse_overrides(list(items))}


def _value(override: Override) -> str:
    """A value in one form, however it was typed, with what is done to its key."""
    done = str(override.get_key_element())[: -len(override.key_or_group)]
    return f"{done}{override.get_value_element_as_str()}"
