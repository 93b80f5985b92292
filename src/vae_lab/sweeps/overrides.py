"""The overrides of a run: from a file in its folder, or from the folder's name.

They may come from strangers, and are only shown: as a command to paste, and as values in a report.
"""

import re
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from vae_lab.config.settings import APART, CLASS, Leaves, choices, overrides_to_repeat
from vae_lab.runs.folder import RunFolder


def overrides_of(run: Path) -> list[str] | None:
    """The overrides of a command that repeats a run; None where its folder does not say them.

    Args:
        run: folder of the run.
    """
    found = RunFolder(run).read_overrides()
    if found is None:  # an older run
        found = _overrides_in(run.name)
    if found is None or not all(map(_parsed, found)):
        return None
    return overrides_to_repeat(found)


def settings_in(name: str) -> Leaves:
    """The settings in the name of a run folder; empty where the name is not made of overrides."""
    found: Leaves = {}
    for override in map(_parsed, _overrides_in(name) or []):
        if override is None:
            return {}
        key, value = override.get_key_element().lstrip("+~"), override.value()
        is_choice = str(value) in choices(key)
        found |= {f"{key}{CLASS}": choices(key)[str(value)]} if is_choice else {key: value}
    return {key: value for key, value in found.items() if not key.startswith(APART)}


def _overrides_in(name: str) -> list[str] | None:
    """The overrides from which ``sweeps.folders.folder_name`` made a name; None where they cannot be found.

    >>> _overrides_in("+hidden_dims=[256,256],loss.coeff=0.5"), _overrides_in("defaults")
    (['+hidden_dims=[256,256]', 'loss.coeff=0.5'], [])
    >>> _overrides_in("data.root=_data_a_b,seed=0~f13e8949"), _overrides_in("my-run")
    (None, None)
    """
    if name == "defaults":
        return []
    items = re.split(r",(?=[+~]*[\w./@]+=)", name)
    is_whole = not re.search(r"~[0-9a-f]{8}$", name)
    return items if is_whole and all("=" in item for item in items) else None


def _parsed(item: str) -> Override | None:
    """One override; None for anything else, for several values, and for characters that are not printable."""
    try:
        override = OverridesParser.create().parse_override(item)
    except HydraException:
        return None
    return override if item.isprintable() and not override.is_sweep_override() else None
