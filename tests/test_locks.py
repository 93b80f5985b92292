"""Locks between processes, and file systems that have none."""

import errno
import fcntl
import os
import tomllib
from pathlib import Path

import pytest

from helpers import TINY, call
from vae_lab.errors import DiskError
from vae_lab.files.locks import NO_LOCKS, TakenError, locked, take
from vae_lab.runs.folder import RunFolder


def answer_with(monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def test_a_lock_is_held_by_one_at_a_time(tmp_path):
    file = tmp_path / "lock"
    with locked(file, "wait"), pytest.raises(TakenError):
        take(file, "wait", wait=False)
    take(file, "wait", wait=False).release()


@pytest.mark.parametrize("number", sorted(NO_LOCKS - {errno.ENOSYS}), ids=errno.errorcode.get)
def test_a_file_system_without_locks_is_named_with_the_remedy(tmp_path, monkeypatch, number):
    answer_with(monkeypatch, number)
    for wait in (True, False):
        with pytest.raises(DiskError, match=rf"{tmp_path}: its file system has no locks \(.+\); name another"):
            take(tmp_path / "lock", "name another", wait)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_none_is_no_matter_of_locks(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file"):
        take(tmp_path / "file" / "lock", "wait")


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize(
    ("command", "remedy"),
    [
        (["hydra.run.dir=out"], "hydra.run.dir=FOLDER"),
        (["-m", "seed=0,1", "sweep_dir=out"], "sweep_dir=FOLDER"),
        (["sweep=search", "sweep_dir=out"], "sweep_dir=FOLDER"),
    ],
    ids=["run", "sweep", "search"],
)
def test_a_command_on_such_a_file_system_ends_with_one_line_and_leaves_nothing(tmp_path, monkeypatch, command, remedy):
    monkeypatch.chdir(tmp_path)
    answer_with(monkeypatch, errno.ENOLCK)
    answer = call(*command, *TINY)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert "has no locks (No locks available)" in line
    assert remedy in line
    assert "another process" not in line
    assert not list(tmp_path.iterdir())


def test_an_existing_run_stays_as_it_is_there(tiny_run, monkeypatch):
    before = sorted(tiny_run.rglob("*"))
    answer_with(monkeypatch, errno.ENOLCK)
    with pytest.raises(DiskError, match="copy an existing one to another file system"), RunFolder(tiny_run).alone():
        pass
    assert sorted(tiny_run.rglob("*")) == before


def test_versions_of_filelock_that_wait_for_ever_there_are_excluded():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert "filelock>=3.32" in project["dependencies"]
