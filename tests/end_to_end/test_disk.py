"""A disk that is full, a folder that must not be written to, or is gone: one line, and what was there stays whole."""

import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import TINY, call
from vae_lab.errors import DiskError
from vae_lab.files import tensors
from vae_lab.files.atomic import replace_file
from vae_lab.training.checkpoints import CheckpointFiles


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a disk takes root")
    yield disk
    subprocess.run(["umount", disk], check=True)


def fill(disk: Path, leave: int) -> None:
    free = shutil.disk_usage(disk).free
    (disk / "filler").write_bytes(b"x" * max(0, free - leave))


def test_a_checkpoint_on_a_full_disk_leaves_the_one_before(small_disk):
    file = small_disk / "checkpoints" / "last.ckpt"
    CheckpointFiles().save_checkpoint({"step": 1}, file)
    fill(small_disk, leave=4096)
    with pytest.raises(DiskError, match=r"last\.ckpt: could not be written \("):
        CheckpointFiles().save_checkpoint({"step": 2, "weights": b"x" * 100_000}, file)
    assert tensors.read(file, "checkpoint") == {"step": 1}
    assert [path.name for path in file.parent.iterdir()] == ["last.ckpt"]


def test_figures_on_a_full_disk_leave_the_ones_before(small_disk):
    file = small_disk / "metrics.json"
    replace_file(file, "before")
    fill(small_disk, leave=0)
    with pytest.raises(DiskError, match=r"metrics\.json: could not be written \(No space left on device\)"):
        replace_file(file, "x" * 100_000)
    assert file.read_text() == "before"


@pytest.mark.parametrize("leave", [0, 20_000, 60_000, 200_000])
def test_a_run_on_a_full_disk_is_one_line(small_disk, small_files, monkeypatch, leave):  # noqa: ARG001
    monkeypatch.chdir(small_disk)
    fill(small_disk, leave)
    answer = call(*TINY, "hydra.run.dir=run")
    assert answer.code == 2
    assert "No space left on device" in answer.err or "could not be written" in answer.err
    assert answer.err.count("\n") == 1
    for file in small_disk.rglob("*.ckpt"):
        tensors.read(file, "checkpoint")
    assert not list(small_disk.rglob("*.part"))


def test_a_folder_that_vanishes_is_one_line(tmp_path, small_files, monkeypatch):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    real = CheckpointFiles.save_checkpoint

    def save(self, checkpoint, path, storage_options=None):
        shutil.rmtree(tmp_path / "run")
        real(self, checkpoint, path, storage_options)

    monkeypatch.setattr(CheckpointFiles, "save_checkpoint", save)
    answer = call(*TINY, "hydra.run.dir=run")
    assert answer.code == 2
    assert "could not be written (No such file or directory)" in answer.err
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "run").exists()
