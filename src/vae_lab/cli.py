"""The command line: Hydra's entry, and one line for each mistake.

Nothing heavy is imported here, so that --help, --cfg and shell completion answer at once.
"""

import difflib
import os
import re
import sys
import textwrap
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from vae_lab.errors import ConfigError, UserError
from vae_lab.paths import CONF
from vae_lab.runs.output_folder import output_dir
from vae_lab.sweeps.callback import INTERRUPTED, concluded, quoted
from vae_lab.sweeps.folders import folder_name

PLUGINS = {  # what our presets build on: the choice, and what has to be installed for it
    "hydra/launcher/joblib": ("hydra/launcher=parallel", "hydra-joblib-launcher"),
    "hydra/launcher/submitit_slurm": ("hydra/launcher=slurm", "hydra-submitit-launcher"),
    "hydra/sweeper/optuna": ("hydra/sweeper=search", "hydra-optuna-sweeper 'sqlalchemy<2'"),
}
FOLDERS = ("run_dir", "resume", "sweep_dir", "data.root", "hydra.run.dir", "hydra.sweep.dir")  # keys that name one


def _output_dir(task: str, run_dir: str | None, sweep_dir: str | None, resume: str | None, fresh: str) -> str:
    """The folder that a command writes to; that of a report holds runs."""
    if task == "report" and not resume:
        from vae_lab.sweeps.runs import find  # late: its parser takes a while to import

        find(sweep_dir)
    return output_dir(task, run_dir, sweep_dir, resume, fresh)


# here and not in main: the processes that a launcher starts import this module and call _task
OmegaConf.register_new_resolver("output_dir", _output_dir, replace=True)
OmegaConf.register_new_resolver("sweep_dir", lambda given, fresh: given or fresh, replace=True)
OmegaConf.register_new_resolver("folder_name", folder_name, replace=True)


def complaint(error: BaseException, overrides: Sequence[str]) -> str:
    """One line for what Hydra or OmegaConf says in several.

    Args:
        error: what was raised.
        overrides: of the command line.
    """
    mistake = _user_error(error)
    if isinstance(mistake, ConfigError):
        default = _defaults().get(mistake.key)
        return f"{mistake}" + (f"; for example {mistake.key}={default}" if default is not None else "")
    if mistake is not None:
        return str(mistake)
    if isinstance(error, MissingConfigException) and error.options is not None:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        allowed = ", ".join(error.options)
        return f"{group}={choice}: there is no such choice{_nearest(choice, error.options)}; allowed: {allowed}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file in PLUGINS:
        preset, package = PLUGINS[error.missing_cfg_file]
        return f"{preset}: needs a plugin that is not installed; pip install {package}"
    odd = next((given for given in overrides if _is_odd_choice(given)), None)
    if odd is not None:
        return f"{odd}: must be one of {', '.join(_choices(odd.partition('=')[0]))}"
    cause = error.__cause__
    if isinstance(cause, ConfigAttributeError | ConfigKeyError):
        key = str(cause.full_key)
        given = next((o for o in overrides if o.lstrip("+~").startswith((f"{key}=", f"{key}."))), key)
        return f"{given}: there is no key {key}{_nearest(key, list(_defaults()))}; --cfg job lists all of them"
    return " ".join((str(error) or str(cause)).split())


def _choices(group: str) -> list[str]:
    """The choices of a group; none where there is no such group."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def _is_odd_choice(override: str) -> bool:
    """Whether it gives a group something that cannot be the name of a choice.

    What Hydra raises for these, a ValueError or a TypeError, does not say which override it is about.
    """
    group, _, choice = override.partition("=")
    return group.isidentifier() and bool(_choices(group)) and not re.fullmatch(r"\w+(,\w+)*", choice.strip("'\""))


def _user_error(error: BaseException | None) -> UserError | None:
    """The user's mistake that an exception was raised from, if any."""
    while error is not None and not isinstance(error, UserError):
        error = error.__cause__ or error.__context__
    return error


def _nearest(name: str, allowed: Sequence[str]) -> str:
    if name in allowed:
        return ""  # by default there is one, and an override took it away
    below = [key for key in allowed if key.endswith(f".{name}")]
    close = below or difflib.get_close_matches(name, allowed, n=1, cutoff=0.4)
    return f", did you mean {close[0]}?" if close else ""


def _defaults() -> dict[str, Any]:
    """Every key of the default configuration, with dots, and its value; None for what holds further keys."""
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config")
    plain = OmegaConf.to_container(config, resolve=True)
    found: dict[str, Any] = {}

    def walk(node: Any, prefix: str) -> None:
        for key, value in node.items():
            found[f"{prefix}{key}"] = None if isinstance(value, dict) else value
            if isinstance(value, dict):
                walk(value, f"{prefix}{key}.")

    walk(plain, "")
    return {key: str(v).replace(" ", "") if isinstance(v, list) else v for key, v in found.items()}


def _task(config: DictConfig) -> float | None:
    """What Hydra runs; found by its name in the processes that a launcher starts."""
    try:
        if config.task == "report":
            _report(config)
            return None
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            from vae_lab.sweeps.job import run_of_sweep

            return run_of_sweep(config)
        from vae_lab.tasks.run import run  # late: it imports torch and lightning

        return run(config)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _fail(complaint(error, sys.argv[1:]))


def _report(config: DictConfig) -> None:
    """Read the runs of a folder and report what they say."""
    from vae_lab.config.settings import hold_to  # late: they take a while to import
    from vae_lab.sweeps import report

    log = Path(HydraConfig.get().runtime.output_dir) / "run.log"
    if log.stat().st_size == 0:
        log.unlink()  # a report says nothing there
    hold_to(HydraConfig.get().overrides.task, ("task", "sweep_dir", "hydra"), "a report takes sweep_dir alone")
    # asked again: a multirun and an explicit hydra.run.dir skip the check inside hydra.run.dir
    report.write(Path(_output_dir(config.task, config.run_dir, config.sweep_dir, None, "")))


def main() -> None:
    """Run the program; a user's mistake ends it with one line and exit code 2, failed runs of a sweep with 1."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands its errors to us instead of printing them
    sys.argv[1:] = [_literal(argument) for argument in sys.argv[1:]]
    hydra_main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    try:
        with concluded(sys.argv):
            hydra_main(_task)()
    except KeyboardInterrupt:  # before or after training, which has its own way to end
        print("\nvae_lab: stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _fail(complaint(error, sys.argv[1:]))
    except OSError as error:
        if error.filename is None:
            raise
        _fail(f"{error.filename}: {error.strerror}; name another folder with hydra.run.dir=FOLDER")
    except (ValueError, TypeError) as error:
        cause = error.__cause__
        if isinstance(cause, OSError):  # the log file cannot be opened
            _fail(f"{cause.filename}: {cause.strerror}; the run folder must be one that can be written to")
        if not _raised_by_hydra(error):
            raise
        _fail(complaint(error, sys.argv[1:]))


def _literal(argument: str) -> str:
    """A command line argument, quoted where it names a folder that is there.

    To Hydra, = and , in the folder's name would be grammar.
    """
    key, _, path = argument.partition("=")
    if key in FOLDERS and Path(path).is_dir() and re.search(r"[^\w./-]", path):
        return f"{key}={quoted(path)}"
    return argument


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra's own code raised it, as it does for a group that is named twice."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"]).startswith("hydra.")


def _fail(message: str) -> NoReturn:
    # text from a run folder may contain line ends, and codes that a terminal obeys
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
    print(f"vae_lab: {textwrap.shorten(line, 1000)}", file=sys.stderr)
    sys.exit(2)
