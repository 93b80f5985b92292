"""Where the configs and the runs are."""

import os
import re
import shlex
from pathlib import Path

from platformdirs import user_cache_dir

_HERE = Path(__file__).resolve().parent
# a wheel carries conf/ inside the package, a checkout beside src/
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent.parent / "conf"

RUNS = Path("outputs/runs")  # where conf/config.yaml puts the folders of single runs


def expanded(path: str | Path) -> str:
    """A path from the user, with a leading ``~`` or ``~name`` as the home folder.

    Args:
        path: path from a config key, an environment variable or a Python call; anything without a leading ~ is kept.
    """
    return os.path.expanduser(path)  # noqa: PTH111  Path's raises where there is no such user


def data_folder(root: str | Path | None = None) -> Path:
    """Folder of the data files and of what is made from them: ``root``, ``$VAE_LAB_DATA``, or the user's cache.

    Args:
        root: folder that the user names; None for one of the others.
    """
    return Path(expanded(root or os.environ.get("VAE_LAB_DATA") or user_cache_dir("vae_lab")))


def quoted(text: str) -> str:
    """A text as a value that Hydra takes unchanged.

    >>> print(quoted("sweep/hidden_dims=[300,300],seed=0"), quoted("it's"))
    'sweep/hidden_dims=[300,300],seed=0' 'it\\'s'
    """
    # in Hydra's grammar a backslash counts only where a quote follows it
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"


def argument(key: str, path: str | Path) -> str:
    """An argument that names a path, as it is pasted into a shell.

    >>> print(argument("resume", "runs/a"), argument("resume", "runs/two words (é)"))
    resume=runs/a 'resume=runs/two words (é)'

    Args:
        key: key of the config, or an option such as ``--logdir``, which a blank follows.
        path: path of the file or folder.
    """
    return f"{key} {shlex.quote(str(path))}" if key.startswith("-") else shlex.quote(f"{key}={path}")
