"""The command line: Hydra's entry, and its complaints in one line each.

Nothing heavy is imported here, so that --help, --cfg and shell completion answer at once.
"""

import difflib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lab.errors import RunFolderError, UserError

_HERE = Path(__file__).resolve().parent
# a wheel carries conf/ inside the package, a checkout beside src/
CONF = _HERE / "conf" if (_HERE / "conf").is_dir() else _HERE.parent.parent / "conf"


def output_dir(task: str, run_dir: str | None, fresh: str) -> str:
    """The folder that this command writes to: a fresh one, or the run that it looks at again."""
    if task == "train":
        return fresh
    if not run_dir:
        raise RunFolderError(f"task={task} needs a finished run: add run_dir=FOLDER")
    if not Path(run_dir).is_dir():
        raise RunFolderError(f"run_dir={run_dir}: there is no such folder; give the folder of a finished run")
    return run_dir


def complaint(error: Exception, overrides: list[str]) -> str:
    """One line for what Hydra or OmegaConf says in several."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError):
            return str(cause)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return (
            f"{group}={choice}: there is no such choice{_nearest(choice, error.options)}; "
            f"allowed: {', '.join(error.options)}"
        )
    text = " ".join(str(error).split())
    found = re.search(r"Could not (?:override|find) '([^']+)'", text)
    if found:
        key = found.group(1)
        given = next((o for o in overrides if o.lstrip("+~").startswith(f"{key}=")), key)
        return f"{given}: there is no key {key}{_nearest(key, _known_keys())}; --cfg job lists all of them"
    return text


def _nearest(name: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.4)
    return f", did you mean {close[0]}?" if close else ""


def _known_keys() -> list[str]:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", return_hydra_config=False)
    keys: list[str] = []

    def walk(node: DictConfig, prefix: str) -> None:
        for key in map(str, node):
            keys.append(f"{prefix}{key}")
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none() and not child._is_interpolation():
                walk(child, f"{prefix}{key}.")

    walk(config, "")
    return keys


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _task(config: DictConfig) -> float | None:
    from vae_lab.run import run  # late: it imports torch and lightning

    return run(config)


def main() -> None:
    """Run the program; a user's mistake ends it with one line and exit code 2."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors to us instead of printing them
    OmegaConf.register_new_resolver("output_dir", output_dir, replace=True)
    try:
        _task()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _fail(complaint(error, sys.argv[1:]))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}; name another folder with hydra.run.dir=FOLDER")


def _fail(message: str) -> None:
    print(f"vae_lab: {message}", file=sys.stderr)
    sys.exit(2)
