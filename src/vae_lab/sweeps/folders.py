"""The run folders of a sweep: their names, and which of them are finished or failed."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_lab.errors import RunFolderError
from vae_lab.runs.folder import RunFolder, criterion_name, is_finished

EVALUATION = ".evaluation"  # folder in a sweep's: the jobs that evaluate its runs
FAILURE = "failure.txt"  # one line, the reason; beside what else the run left
LONGEST = 200  # bytes; file systems allow 255, and the lock beside a folder adds to its name


def folder_name(overrides: str) -> str:
    """The name of a run's folder: its overrides, where they can be a file name, else a short form of them and a hash.

    >>> folder_name("hidden_dims=[256,256],loss.coeff=0.5")
    'hidden_dims=[256,256],loss.coeff=0.5'
    >>> folder_name("data.root=/data/a b,seed=0")
    'data.root=_data_a_b,seed=0~f13e8949'
    >>> folder_name("")
    'defaults'
    """
    safe = re.sub(r"[^\w.,=+~()\[\]{}-]+", "_", overrides)
    if safe == overrides and len(safe.encode()) <= LONGEST:
        return safe or "defaults"
    digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return f"{safe.encode()[: LONGEST - 9].decode(errors='ignore')}~{digest}"


def metrics_of(folder: Path) -> dict[str, Any] | None:
    """The metrics of a run that finished; None where it did not, or where they cannot be read."""
    try:
        metrics = RunFolder(folder).read_metrics()
    except RunFolderError:
        return None
    return metrics if is_finished(metrics) else None


def failure_of(folder: Path) -> str | None:
    """Why a run failed, in one line; None where it did not."""
    file = folder / FAILURE
    if not file.exists():
        return None
    return " ".join(file.read_text(errors="replace").split()) or "no reason was given"


def criterion_of(metrics: Mapping[str, Any]) -> float:
    """The criterion of a run, lower is better: its best value, or that of the test where no other is left."""
    name = criterion_name(metrics)
    return float(metrics.get(f"best/{name}", metrics[f"test/{name}"]))


def failures(sweep: Path) -> dict[str, int]:
    """The names of a sweep's failed runs, and the time of each failure in nanoseconds, as the file system has it."""
    return {file.parent.name: file.stat().st_mtime_ns for file in sorted(sweep.glob(f"*/{FAILURE}"))}
