"""Where somebody works beside a run from a stranger."""

from pathlib import Path

import pytest

from hostile import SECRET


@pytest.fixture
def home(tiny_run, monkeypatch) -> Path:
    """Where somebody works: a run from a stranger, and files of their own beside it."""
    folder = tiny_run.parent
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SECRET", SECRET)
    (folder / "mine").mkdir()
    (folder / "mine" / "metrics.json").write_text("precious")
    return folder
