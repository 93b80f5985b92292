"""The run folders of a sweep: how they are called, and which of them need no run any more."""

import hashlib
import re
from pathlib import Path
from typing import Any

from vae_lab.errors import RunFolderError
from vae_lab.runs.folder import RunFolder, is_finished

FAILURE = "failure.txt"  # one line, the reason; beside what the run left behind
LONGEST = 200  # bytes; file systems allow 255, and the lock beside a folder adds to its name


def folder_name(overrides: str) -> str:
    """The name of a run's folder: its overrides, where they are a file name, else what is left of them and a hash.

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
    """The figures of a run that finished; None of one that did not, or whose figures cannot be read any more."""
    try:
        metrics = RunFolder(folder).read_metrics()
    except RunFolderError:
        return None
    return metrics if is_finished(metrics) else None


def failure_of(folder: Path) -> str | None:
    """Why a run failed, in one line; None of one that did not."""
    file = folder / FAILURE
    if not file.exists():
        return None
    return " ".join(file.read_text(errors="replace").split()) or "no reason was given"


def figure_of(metrics: dict[str, Any]) -> float:
    """What runs are compared by; a run that lost its figures and was tested again has those of the test only."""
    return float(metrics.get("best/nelbo", metrics["test/nelbo"]))


def failures(sweep: Path) -> dict[str, int]:
    """The names of a sweep's failed runs, and when each failed, by the clock of the disk."""
    return {file.parent.name: file.stat().st_mtime_ns for file in sorted(sweep.glob(f"*/{FAILURE}"))}
