"""The start and the end of a multirun: what is refused before it, and what is said after it."""

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

INTERRUPTED = 130  # as a shell counts Ctrl-C


ONE_DEVICE = (
    "a run of a sweep has one device, since the processes for further ones would each start the whole sweep again; "
    "use trainer.devices=1, or make a single run of it"
)


class Sweep(Callback):
    """Notes where the sweep goes, once Hydra knows it, and refuses what no run of a sweep may ask for."""

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
        Sweep.folder, Sweep.trains = Path(config.hydra.sweep.dir), config.task == "train"
        Sweep.failed_before = failures(Sweep.folder)
        Sweep.searches = "study_name" in config.hydra.sweeper
        if Sweep.searches:
            from vae_lab.sweeps.storage import take_up  # late: it imports optuna

            Sweep.lock = _alone(Sweep.folder)
            take_up(config.hydra.sweeper)


def _refuse(reason: str) -> NoReturn:
    print(f"vae_lab: {reason}", file=sys.stderr)
    sys.exit(2)  # Hydra would make a warning of an exception


def _alone(sweep: Path) -> FileLock:
    """The lock of a search: one that is taken up anew ends the runs that it finds under way."""
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
    """Around the program: a multirun inside it ends with its report, and with how to go on where it was stopped.

    Args:
        arguments: the command line, the program first.

    Raises:
        SystemExit: 1 where runs failed, 130 where a person stopped the sweep.
    """
    Sweep.folder = None
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as stop:
        stopped = isinstance(stop, KeyboardInterrupt) or stop.code == INTERRUPTED
        if Sweep.folder is None or not stopped:
            raise
        print(f"\nstopped; to go on: {_command(arguments, Sweep.folder)}")
        sys.exit(INTERRUPTED)
    except Exception:
        # the launcher itself broke down, or there was a mistake
        if Sweep.folder is not None and not _discard_if_empty(Sweep.folder):
            print(f"\nended early; to go on: {_command(arguments, Sweep.folder)}")
        raise
    if Sweep.folder is not None:
        _report(Sweep.folder, _command(arguments, Sweep.folder))


def _report(folder: Path, again: str) -> None:
    if Sweep.trains:
        from vae_lab.sweeps.report import write  # late: a single run has no use for it

        write(folder)
    # a file of this command's runs is newer than it was, or was not there
    failed = [name for name, written in failures(folder).items() if Sweep.failed_before.get(name) != written]
    if failed:
        # a search goes on with other settings
        remedy = "why is in their failure.txt" if Sweep.searches else f"to do them again: {again}"
        print(f"vae_lab: {len(failed)} failed; {remedy}", file=sys.stderr)
        sys.exit(1)


def _discard_if_empty(folder: Path) -> bool:
    """Take the folder away where Hydra wrote nothing but its own note there and then found a mistake."""
    is_empty = not folder.is_dir() or {entry.name for entry in folder.iterdir()} <= {"multirun.yaml", ".search.lock"}
    if is_empty and folder.is_dir():
        shutil.rmtree(folder)
    return is_empty


def _command(arguments: Sequence[str], folder: Path) -> str:
    program, *rest = arguments
    name = ["python", "-m", "vae_lab"] if Path(program).name == "__main__.py" else [Path(program).name]
    kept = [argument for argument in rest if not argument.startswith("sweep_dir=")]
    # beside the first override, since argparse wants them together
    place = next((i for i, argument in enumerate(kept) if re.match(r"[^-].*=", argument)), len(kept))
    return shlex.join([*name, *kept[:place], f"sweep_dir={folder}", *kept[place:]])


def quoted(path: str) -> str:
    """A path as a value that Hydra takes as it stands.

    >>> print(quoted("sweep/hidden_dims=[300,300],seed=0"))
    'sweep/hidden_dims=[300,300],seed=0'
    """
    return "'" + path.replace("'", "\\'") + "'"
