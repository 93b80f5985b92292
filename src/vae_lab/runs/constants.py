"""What is constant in a sweep: kept in its folder by the command that begins it.

Nothing heavy is imported here.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from vae_lab.errors import RunFolderError
from vae_lab.files.checks import read_text

NAMES = ".names.json"  # in the folder of a sweep: its constant overrides by their keys
LARGEST = 100_000  # bytes of that file


def constants_of(sweep_dir: Path) -> Mapping[str, str]:
    """The constant overrides of a sweep by their keys; empty where the folder keeps none.

    Args:
        sweep_dir: folder of the sweep.

    Raises:
        RunFolderError: if the file is damaged.
    """
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


def varying(overrides: Sequence[str], constant: Mapping[str, str]) -> dict[str, Override]:
    """The overrides of a run that are not constant in its sweep, by their keys; a later one replaces an earlier one.

    Args:
        overrides: overrides of the run.
        constant: constant overrides of the sweep.
    """
    parsed = {each.key_or_group: each for each in OverridesParser.create().parse_overrides(list(overrides))}
    return {key: each for key, each in parsed.items() if constant.get(key) != value_of(each)}


def value_of(override: Override) -> str:
    """A value in one form, however it was typed, with what is done to its key."""
    done = str(override.get_key_element())[: -len(override.key_or_group)]
    return f"{done}{override.get_value_element_as_str()}"
