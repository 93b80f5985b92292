"""The start and the end of a multirun: what is refused before it, and what is printed after it."""

import math
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

from filelock import BaseFileLock
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vae_lab.errors import ConfigError, RunFolderError, UserError, reason_of
from vae_lab.files.locks import TakenError, take
from vae_lab.runs.constants import NAMES
from vae_lab.sweeps.folders import EVALUATION, failures
from vae_lab.sweeps.names import keep_constants
from vae_lab.sweeps.swept_values import check_baseline, check_intervals, check_values, swept, values_of

SUBMITIT = "hydra_plugins.hydra_submitit_launcher."  # its launchers end the sweep where a job is killed
INTERRUPTED = 130  # exit code of a shell after Ctrl-C
REFUSALS = (UserError, HydraException, ImportError)  # a search needs Optuna, which may not be there
ELSEWHERE = "name another folder with sweep_dir=FOLDER"

ONE_DEVICE = (
    "a run of a sweep has one device, since the processes for further ones would each start the whole sweep again; "
    "use trainer.devices=1, or make a single run of it"
)


class SweepCallback(Callback):
    """Keeps the folder of the sweep, once Hydra knows it, and refuses what no run of a sweep may have."""

    folder: ClassVar[Path | None] = None
    reported: ClassVar[Path | None] = None  # folder of the runs that the report at the end is about
    baseline: ClassVar[str | None] = None  # of the report
    searches: ClassVar[bool] = False
    failed_before: ClassVar[dict[str, int]] = {}
    lock: ClassVar[BaseFileLock | None] = None  # of a search, until the process ends

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse what no run of this sweep can do, and a second process for a search.

        Raises:
            SystemExit: because of a mistake of the user, since Hydra would turn other exceptions into warnings.
        """
        folder = Path(config.hydra.sweep.dir)
        was_there = folder.exists()
        try:
            _check(config, folder)
            _try_locks(folder)
            keep_constants(folder, swept(config), config.hydra.job.config.override_dirname.exclude_keys)
            SweepCallback.searches = "study_name" in config.hydra.sweeper
            if SweepCallback.searches:
                from vae_lab.sweeps import storage, trials  # late: they import optuna

                space = trials.space_of(config)[0]
                SweepCallback.lock = _alone(folder)
                trials.check_space(space, storage.take_up(config.hydra.sweeper))
        except REFUSALS as mistake:
            if not was_there:
                _discard_if_empty(folder)
            raise SystemExit(2) from mistake
        SweepCallback.folder = folder
        SweepCallback.reported = _of_runs(folder) if config.task == "train" or folder.name == EVALUATION else None
        SweepCallback.baseline = config.report.baseline
        SweepCallback.failed_before = failures(folder)


def _check(config: DictConfig, folder: Path) -> None:
    """Refuse what no run of the sweep can do.

    Raises:
        ConfigError: names the key.
    """
    overrides = swept(config)
    for devices in (str(config.trainer.devices), *values_of("trainer.devices", overrides)):
        if not is_one(devices):
            raise ConfigError("trainer.devices", devices, ONE_DEVICE)
    launcher = str(config.hydra.launcher.get("_target_"))
    if launcher.startswith(SUBMITIT):
        choice = config.hydra.runtime.choices.get("hydra/launcher")
        reason = "use hydra/launcher=parallel on this machine, hydra/launcher=slurm on a cluster"
        raise ConfigError("hydra/launcher", choice, reason)
    tasks = {config.task, *values_of("task", overrides)}
    if "explore" in tasks:
        raise ConfigError("task", "explore", "is a page that waits for you; leave out -m")
    if "submitit_folder" in config.hydra.launcher and tasks != {"train"}:
        reason = "only task=train runs on a cluster; use hydra/launcher=basic or hydra/launcher=parallel"
        raise ConfigError("task", ", ".join(sorted(tasks)), reason)
    if "study_name" not in config.hydra.sweeper:
        check_intervals(overrides)
    check_baseline(config.report.baseline, overrides)
    # a sweep that is finished needs no torch, which the check imports
    runs = math.prod(
        len(list(override.sweep_string_iterator())) for override in overrides if override.is_discrete_sweep()
    )
    if len(list(folder.glob("*/metrics.json"))) < runs:
        check_values(config, overrides)


def _try_locks(sweep: Path) -> None:
    """Raise DiskError if the runs could not lock their folders."""
    sweep.mkdir(parents=True, exist_ok=True)
    file = sweep / ".try.lock"
    with suppress(TakenError):
        lock = take(file, ELSEWHERE, wait=False)
        file.unlink(missing_ok=True)
        lock.release()


def _alone(sweep: Path) -> BaseFileLock:
    """The lock of a search, for one process: a search that continues ends the runs that it finds unfinished."""
    try:
        return take(sweep / ".search.lock", ELSEWHERE, wait=False)
    except TakenError as error:
        reason = "another process is at work on this search; wait for it, or name another folder"
        raise RunFolderError(f"sweep_dir={sweep}: {reason}") from error


def is_one(devices: Any) -> bool:
    """Whether ``trainer.devices`` names one device, by its number or by a list."""
    return re.fullmatch(r"'?(1|auto)'?|null|None|\[\d+\]", str(devices)) is not None


@contextmanager
def concluded(arguments: Sequence[str]) -> Iterator[None]:
    """Around the program: a multirun ends with its report, or with the command that continues it where it was stopped.

    Args:
        arguments: words of the command line, the program first.

    Raises:
        UserError, HydraException, ImportError: if the sweep was refused before its first run.
        SystemExit: 1 where runs failed, 130 where the user stopped the sweep.
    """
    SweepCallback.folder = None
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        if isinstance(stop.__cause__, REFUSALS):
            raise stop.__cause__ from None
        stopped = isinstance(stop, KeyboardInterrupt) or stop.code == INTERRUPTED
        if SweepCallback.folder is None or not stopped:
            if SweepCallback.folder is not None:
                _discard_if_empty(SweepCallback.folder)
            raise
        print(f"\nstopped; to go on: {_command(arguments, SweepCallback.folder)}")
        sys.exit(INTERRUPTED)
    except Exception as error:
        # an error of the launcher itself, or a mistake of the user
        if SweepCallback.folder is not None and not _discard_if_empty(SweepCallback.folder):
            print(f"\nended early; to go on: {_command(arguments, SweepCallback.folder)}")
        if type(error).__module__.startswith(("optuna.", "sqlalchemy.")):
            reason = f"the storage of the search failed ({reason_of(error)})"
            raise RunFolderError(f"sweep_dir={SweepCallback.folder}: {reason}; name another folder") from error
        raise
    if SweepCallback.folder is not None:
        _report(SweepCallback.folder, _command(arguments, SweepCallback.folder))


def _report(folder: Path, again: str) -> None:
    if SweepCallback.reported is not None:
        from vae_lab.sweeps.report import write  # late: a single run does not need it

        try:
            write(SweepCallback.reported, SweepCallback.baseline)
        except ConfigError:
            write(SweepCallback.reported)  # hours of runs are reported, whatever the baseline
            raise
    # the failures of this command: their files are new or newer
    failed = [name for name, written in failures(folder).items() if SweepCallback.failed_before.get(name) != written]
    if failed:
        # a search would continue with other settings, and not repeat these
        remedy = "why is in their failure.txt" if SweepCallback.searches else f"to do them again: {again}"
        print(f"vae_lab: {len(failed)} failed; {remedy}", file=sys.stderr)
        sys.exit(1)


def _discard_if_empty(folder: Path) -> bool:
    """Delete the folder if it holds no runs, but at most what is written before the first one."""
    is_empty = not folder.is_dir() or {entry.name for entry in folder.iterdir()} <= {
        "multirun.yaml",
        ".search.lock",
        NAMES,
    }
    if is_empty and folder.is_dir():
        shutil.rmtree(folder)
    return is_empty


def _command(arguments: Sequence[str], folder: Path) -> str:
    program, *rest = arguments
    name = ["python", "-m", "vae_lab"] if Path(program).name == "__main__.py" else [Path(program).name]
    kept = [argument for argument in rest if not argument.startswith("sweep_dir=")]
    # before the first override, since argparse expects all overrides together
    place = next((i for i, argument in enumerate(kept) if re.match(r"[^-].*=", argument)), len(kept))
    return shlex.join([*name, *kept[:place], f"sweep_dir={_of_runs(folder)}", *kept[place:]])


def _of_runs(folder: Path) -> Path:
    """The folder that holds the runs of a sweep's folder: of jobs that evaluate them, the one above."""
    return folder.parent if folder.name == EVALUATION else folder
