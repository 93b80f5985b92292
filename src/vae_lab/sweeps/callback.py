"""The start and the end of a multirun: what is refused before it, and what is printed after it."""

import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from filelock import FileLock, Timeout
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from vae_lab.sweeps.folders import failures

INTERRUPTED = 130  # exit code of a shell after Ctrl-C

ONE_DEVICE = (
    "a run of a sweep has one device, since the processes for further ones would each start the whole sweep again; "
    "use trainer.devices=1, or make a single run of it"
)


class SweepCallback(Callback):
    """Keeps the folder of the sweep, once Hydra knows it, and refuses what no run of a sweep may ask for."""

    folder: ClassVar[Path | None] = None
    trains: ClassVar[bool] = True
    searches: ClassVar[bool] = False
    failed_before: ClassVar[dict[str, int]] = {}
    lock: ClassVar[FileLock | None] = None  # of a search, until the process ends

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse several devices for a run, a cluster for what is no training, and a second process for a search."""
        for devices in (str(config.trainer.devices), *_swept("trainer.devices", config)):
            if not is_one(devices):
                _refuse(f"trainer.devices={devices}: {ONE_DEVICE}")
        tasks = {config.task, *_swept("task", config)}
        if "submitit_folder" in config.hydra.launcher and tasks != {"train"}:
            _refuse(f"task={', '.join(sorted(tasks))}: jobs of a cluster are trainings; use hydra/launcher=basic")
        SweepCallback.folder, SweepCallback.trains = Path(config.hydra.sweep.dir), config.task == "train"
        SweepCallback.failed_before = failures(SweepCallback.folder)
        SweepCallback.searches = "study_name" in config.hydra.sweeper
        if SweepCallback.searches:
            from vae_lab.sweeps.storage import take_up  # late: it imports optuna

            SweepCallback.lock = _alone(SweepCallback.folder)
            take_up(config.hydra.sweeper)


def _refuse(reason: str) -> NoReturn:
    print(f"vae_lab: {reason}", file=sys.stderr)
    sys.exit(2)  # Hydra would make a warning of an exception


def _alone(sweep: Path) -> FileLock:
    """The lock of a search, for one process: a search that goes on ends the runs that it finds under way."""
    sweep.mkdir(parents=True, exist_ok=True)
    lock = FileLock(sweep / ".search.lock", blocking=False)
    try:
        lock.acquire()
    except Timeout:
        _refuse(f"sweep_dir={sweep}: another process is at work on this search; wait for it, or name another folder")
    return lock


def is_one(devices: Any) -> bool:
    """Whether ``trainer.devices`` names one device, by its number or by a list."""
    return re.fullmatch(r"'?(1|auto)'?|null|None|\[\d+\]", str(devices)) is not None


def _swept(key: str, config: DictConfig) -> Iterator[str]:
    """The values that a key has in the runs of a sweep, where the command line gives it several."""
    for override in OverridesParser.create().parse_overrides(list(config.hydra.overrides.task)):
        if override.key_or_group == key and override.is_discrete_sweep():
            yield from override.sweep_string_iterator()


@contextmanager
def concluded(arguments: Sequence[str]) -> Iterator[None]:
    """Around the program: a multirun ends with its report, or with the command that continues it where it was stopped.

    Args:
        arguments: words of the command line, the program first.

    Raises:
        SystemExit: 1 where runs failed, 130 where a person stopped the sweep.
    """
    SweepCallback.folder = None
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stopped = isinstance(stop, KeyboardInterrupt) or stop.code == INTERRUPTED
        if SweepCallback.folder is None or not stopped:
            raise
        print(f"\nstopped; to go on: {_command(arguments, SweepCallback.folder)}")
        sys.exit(INTERRUPTED)
    except Exception:
        # an error of the launcher itself, or a mistake of the user
        if SweepCallback.folder is not None and not _discard_if_empty(SweepCallback.folder):
            print(f"\nended early; to go on: {_command(arguments, SweepCallback.folder)}")
        raise
    if SweepCallback.folder is not None:
        _report(SweepCallback.folder, _command(arguments, SweepCallback.folder))


def _report(folder: Path, again: str) -> None:
    if SweepCallback.trains:
        from vae_lab.sweeps.report import write  # late: a single run has no use for it

        write(folder)
    # the failures of this command: their files are newer than before, or were not there
    failed = [name for name, written in failures(folder).items() if SweepCallback.failed_before.get(name) != written]
    if failed:
        # a search would go on with other settings, and not repeat these
        remedy = "why is in their failure.txt" if SweepCallback.searches else f"to do them again: {again}"
        print(f"vae_lab: {len(failed)} failed; {remedy}", file=sys.stderr)
        sys.exit(1)


def _discard_if_empty(folder: Path) -> bool:
    """Delete the folder where it holds no runs yet, but only what is written before the first of them."""
    is_empty = not folder.is_dir() or {entry.name for entry in folder.iterdir()} <= {"multirun.yaml", ".search.lock"}
    if is_empty and folder.is_dir():
        shutil.rmtree(folder)
    return is_empty


def _command(arguments: Sequence[str], folder: Path) -> str:
    program, *rest = arguments
    name = ["python", "-m", "vae_lab"] if Path(program).name == "__main__.py" else [Path(program).name]
    kept = [argument for argument in rest if not argument.startswith("sweep_dir=")]
    # beside the first override, since argparse expects all overrides side by side
    place = next((i for i, argument in enumerate(kept) if re.match(r"[^-].*=", argument)), len(kept))
    return shlex.join([*name, *kept[:place], f"sweep_dir={folder}", *kept[place:]])


def quoted(path: str) -> str:
    """A path as a value that Hydra takes as it stands.

    >>> print(quoted("sweep/hidden_dims=[300,300],seed=0"))
    'sweep/hidden_dims=[300,300],seed=0'
    """
    return "'" + path.replace("'", "\\'") + "'"
