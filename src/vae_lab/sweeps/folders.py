"""The run folders of a sweep: how they are called, and which of them need no run any more."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

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
    """The figures of a run that finished; None of one that did not."""
    try:
        metrics = json.loads((folder / "metrics.json").read_text())
    except FileNotFoundError:
        return None
    return metrics if "test/nelbo" in metrics else None


def failure_of(folder: Path) -> str | None:
    """Why a run failed, in one line; None of one that did not."""
    file = folder / FAILURE
    return file.read_text().strip() if file.exists() else None


def failures(sweep: Path) -> dict[str, str]:
    """The failed runs of a sweep by name, and why they did."""
    found = {folder.name: failure_of(folder) for folder in sorted(sweep.iterdir()) if folder.is_dir()}
    return {name: reason for name, reason in found.items() if reason is not None}
