"""The names of a sweep's runs: their overrides, without those that are constant in the sweep.

What is constant is said by the command that begins a sweep, and kept in its folder, so that each later command
finds the same runs under the same names. A sweep of an earlier version keeps nothing, and its names have everything.

Nothing heavy is imported here.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from vae_lab.config.settings import APART_AS_OVERRIDES, key_of
from vae_lab.errors import ConfigError
from vae_lab.files.atomic import replace_file
from vae_lab.runs.constants import NAMES, constants_of, value_of, varying
from vae_lab.sweeps.folders import EVALUATION, folder_name


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
        run_dir = varying(items, {}).get("run_dir")
        return folder_name(Path(str(run_dir.value())).name if run_dir else "")
    if constant := constants_of(Path(sweep_dir)):
        items = [str(each.input_line) for each in varying(items, constant).values()]
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
        constant = {each.key_or_group: value_of(each) for each in overrides if not each.is_sweep_override()}
        if constant and len(constant) < len(overrides):
            replace_file(file, json.dumps(constant, indent=2) + "\n")
        return
    given = {override.key_or_group for override in overrides}
    for key, value in constants_of(sweep_dir).items():
        if key not in given and key not in left_out and not key.startswith(APART_AS_OVERRIDES):
            reason = f"the runs in it have {key}={value}, which this command leaves out; add it, or name another folder"
            raise ConfigError("sweep_dir", str(sweep_dir), reason)
