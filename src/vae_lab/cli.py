"""The command line: Hydra's entry, and one line for each mistake.

Nothing heavy is imported here, so that --help, --cfg and shell completion answer at once.
"""

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lab.arguments import prepared
from vae_lab.complaints import complaint
from vae_lab.config.keys import check_hydra_keys
from vae_lab.errors import UserError
from vae_lab.paths import CONF, expanded
from vae_lab.runs.folder import LOGS, RunFolder
from vae_lab.runs.output_folder import looks_at_run, output_dir
from vae_lab.sweeps.callback import INTERRUPTED, concluded
from vae_lab.sweeps.names import run_name

LONGEST_LINE = 1000  # letters of a message
# what ends in one line; a bug does not
MISTAKES = (UserError, HydraException, OmegaConfBaseException, ImportError, OSError)


def _output_dir(task: str, run_dir: str | None, sweep_dir: str | None, resume: str | None, fresh: str) -> str:
    """The folder that a command writes to; for a report it must hold runs."""
    if task == "report" and not resume:
        from vae_lab.sweeps.runs import find  # late: its parser takes a while to import

        find(expanded(sweep_dir) if sweep_dir else None)
    return output_dir(task, run_dir, sweep_dir, resume, fresh)


# here and not in main: the processes that a launcher starts import this module and call _task
OmegaConf.register_new_resolver("output_dir", _output_dir, replace=True)
OmegaConf.register_new_resolver("sweep_dir", lambda given, fresh: expanded(given or fresh), replace=True)
OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def _task(config: DictConfig) -> float | None:
    """What Hydra runs; found by its name in the processes that a launcher starts."""
    # where the user's relative paths begin, also with hydra.job.chdir=true
    with contextlib.chdir(HydraConfig.get().runtime.cwd):
        try:
            return done(config)
        except MISTAKES as error:
            if _is_ours(error):
                raise
            _fail(complaint(error, sys.argv[1:]))
        finally:
            discard_if_empty(config)


def done(config: DictConfig) -> float | None:
    """Do what a command says."""
    check_hydra_keys()
    if config.task == "report":
        _report(config)
        return None
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        from vae_lab.sweeps.job import run_of_sweep

        return run_of_sweep(config)
    from vae_lab.tasks.run import run  # late: it imports torch and lightning

    return run(config)


def discard_if_empty(config: DictConfig) -> None:
    """Leave no folder behind that holds nothing but a log; of several processes the first does it."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        is_job = HydraConfig.get().mode == RunMode.MULTIRUN  # whose folder is no run that was there before
        folder = Path(HydraConfig.get().runtime.output_dir)
        looks = looks_at_run(config.task, config.run_dir) and folder == Path(expanded(config.run_dir or "")).absolute()
        is_new = is_job or not (config.task == "report" or looks or config.resume)
        RunFolder(folder).discard_if_empty(with_folder=is_new)


def _report(config: DictConfig) -> None:
    """Read the runs of a folder and report what they say."""
    from vae_lab.config.settings import check_overrides  # late: they take a while to import
    from vae_lab.sweeps import report

    for name in LOGS:
        log = Path(HydraConfig.get().runtime.output_dir) / name
        if log.is_file() and log.stat().st_size == 0:
            log.unlink()  # a report logs nothing
    # it imports nothing of its runs, so that trust changes nothing
    allowed = ("task", "sweep_dir", "report.baseline", "trust", "hydra")
    check_overrides(HydraConfig.get().overrides.task, allowed, "a report takes only sweep_dir and report.baseline")
    # checked again: a multirun and an explicit hydra.run.dir skip the check inside hydra.run.dir
    report.write(Path(_output_dir(config.task, config.run_dir, config.sweep_dir, None, "")), config.report.baseline)


def main() -> None:
    """Run the program; a user's mistake ends it with one line and exit code 2, failed runs of a sweep with 1."""
    _wait_briefly()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    hydra_main = hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
    given = sys.argv[:]
    try:
        sys.argv[1:] = prepared(given[1:])
        with _ended_by_sigterm(), concluded(given):
            hydra_main(_task)()
    except KeyboardInterrupt:  # before or after training, which handles signals itself
        print("\nvae_lab: stopped", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # nobody reads on, as after `--help | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains at its end
        sys.exit(128 + signal.SIGPIPE)
    except MISTAKES as error:
        if _is_ours(error):
            raise
        _fail(complaint(error, sys.argv[1:]))
    except (ValueError, TypeError) as error:
        if not isinstance(error.__cause__, OSError) and not _raised_by_hydra(error):  # the log file cannot be opened
            raise
        _fail(complaint(error, sys.argv[1:]))


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the program by an exception, so that it takes its locks away; training handles it itself."""

    def end(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)  # as a shell counts signals

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, end) if in_main_thread else None
    try:
        yield
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _wait_briefly() -> None:
    """Let threads that wait for each other go to sleep soon, unless the user's environment says how they wait.

    By default they spin for milliseconds, and where other programs want the cores too, a step takes ten times as long.
    Sleeping at once costs half the speed of an idle machine, and this many turns cost nothing there (docs/speed.md).
    OpenMP reads it when torch is imported.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = "64000"


def _is_ours(error: Exception) -> bool:
    """Whether it is a mistake of this program, which its traceback explains, or nobody reads what it prints."""
    of_package = isinstance(error, ImportError) and str(error.name).startswith("vae_lab")
    return of_package or isinstance(error, BrokenPipeError)


def _raised_by_hydra(error: Exception) -> bool:
    """Whether Hydra's own code raised it, as it does for a group that is named twice."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals["__name__"]).startswith("hydra.")


def _fail(message: str) -> NoReturn:
    # text from a run folder may contain line breaks and terminal control codes
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message)
    shown = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]} […]"
    print(f"vae_lab: {shown}", file=sys.stderr)
    sys.exit(2)
