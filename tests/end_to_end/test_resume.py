"""A run that is killed at any moment and goes on ends as one that was left alone."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import FIGURES, call

# two epochs of 80 steps with everything that has a state: a schedule, warm-up of the KL, drawn bits, early stopping
RUN = (
    "trainer.accelerator=cpu",
    "callbacks=early_stopping",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=80",
    "data.batch_size=20",
    "hidden_dims=[32]",
    "loss=sgvb",
    "loss.warmup_epochs=1.5",
    "callbacks.last.every_n_steps=16",
    *(f"callbacks.{name}=null" for name in FIGURES),
)

# the program, that kills itself at the n-th time that it waits for the disk to have a file: before the rename
KILLED_WHILE_WRITING = """
import os, signal, sys
left, real = int(sys.argv.pop(1)), os.fsync
def fsync(descriptor):
    global left
    left -= 1
    if left == 0:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
    real(descriptor)
os.fsync = fsync
from vae_lab.cli import main
main()
"""


def start(folder: Path, root: str, *arguments: str, code: tuple[str, ...] = ("-m", "vae_lab")) -> subprocess.Popen:
    environment = os.environ | {"VAE_LAB_DATA": root, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *code, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def figures(run: Path) -> tuple[str, dict]:
    metrics = json.loads((run / "metrics.json").read_text())
    timed = {"train/seconds", "train/images_per_second"}
    return (run / "metrics.csv").read_text(), {name: v for name, v in metrics.items() if name not in timed}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, mnist_root):
    """The figures of the run that nobody disturbs, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("alone")
    started = time.monotonic()
    process = start(folder, mnist_root, *RUN, "hydra.run.dir=run")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return figures(folder / "run"), time.monotonic() - started


@pytest.fixture
def here(tmp_path, mnist_root, monkeypatch):
    """The folder that this test's program runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_LAB_DATA", mnist_root)
    return tmp_path


def wait_for(file: Path) -> None:
    for _ in range(1200):
        if file.exists():
            return
        time.sleep(0.05)
    raise AssertionError(f"{file} never came")


def resumed(run: str = "run") -> tuple[str, dict]:
    answer = call(f"resume={run}")
    assert answer.code == 0, answer.err
    return figures(Path(run))


def test_killed_within_an_epoch(here, mnist_root, alone):
    process = start(here, mnist_root, *RUN, "hydra.run.dir=run")
    wait_for(here / "run" / "checkpoints" / "last.ckpt")
    process.kill()
    process.communicate()
    assert not (here / "run" / "metrics.json").exists()
    assert resumed() == alone[0]


# checkpoints, of which the fifth is best.ckpt of the first epoch, and metrics.csv between them
@pytest.mark.parametrize("write", [2, 6, 8])
def test_killed_while_a_file_is_written(here, mnist_root, alone, write):
    process = start(here, mnist_root, str(write), *RUN, "hydra.run.dir=run", code=("-c", KILLED_WHILE_WRITING))
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    assert list((here / "run").rglob("*.part"))
    assert resumed() == alone[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_with_a_checkpoint_of_that_moment(here, mnist_root, alone, number):
    process = start(here, mnist_root, *RUN, "hydra.run.dir=outputs/runs/a", "callbacks.last.every_n_steps=null")
    wait_for(here / "outputs" / "runs" / "a" / "metrics.csv")
    sent = time.monotonic()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - sent < 5
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert "python -m vae_lab resume=outputs/runs/a" in out
    assert (here / "outputs" / "runs" / "a" / "checkpoints" / "last.ckpt").exists()
    shutil.move(here / "outputs" / "runs" / "a", here / "outputs" / "runs" / "moved")
    assert call("resume=last").code == 0
    assert figures(here / "outputs" / "runs" / "moved") == alone[0]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(here, mnist_root, alone):
    process = start(here, mnist_root, "8", *RUN, "hydra.run.dir=run", code=("-c", KILLED_WHILE_WRITING))
    process.communicate(timeout=120)
    last = here / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    answer = call("resume=run")
    assert answer.code == 0
    assert "last.ckpt: damaged" in answer.out
    assert "going on from run/checkpoints/best.ckpt" in answer.out
    assert figures(here / "run") == alone[0]
    again = call("resume=run")
    assert (again.code, "has finished" in again.err) == (2, True)


def test_a_run_without_a_checkpoint_begins_anew(here, mnist_root, alone):
    process = start(here, mnist_root, "1", *RUN, "hydra.run.dir=run", code=("-c", KILLED_WHILE_WRITING))
    process.communicate(timeout=120)
    assert resumed() == alone[0]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("resume=nowhere",), "resume=nowhere: there is no such folder; give the folder of a run, or last"),
        (("resume=last",), "resume=last: outputs/runs holds no run that was cut off; name its folder: resume=FOLDER"),
        (("resume=.",), "./config.yaml"),
    ],
)
def test_what_cannot_go_on_is_one_line(here, arguments, line):
    answer = call(*arguments)
    assert answer.code == 2
    assert line in answer.err or "no config.yaml" in answer.err
    assert answer.err.count("\n") == 1
    assert not list(here.iterdir())


@pytest.mark.usefixtures("here")
def test_a_run_goes_on_with_its_own_settings(tiny_run):
    (tiny_run / "metrics.json").unlink()
    answer = call(f"resume={tiny_run}", "loss.coeff=2")
    assert answer.code == 2
    assert "loss.coeff=2: a run goes on with its own settings" in answer.err


@pytest.mark.slow
def test_killed_at_twenty_moments(here, mnist_root, alone):
    moments = random.Random(0)
    for i in range(20):
        process = start(here, mnist_root, *RUN, f"hydra.run.dir=run{i}")
        wait_for(here / f"run{i}" / "config.yaml")
        time.sleep(moments.uniform(0, alone[1] - 3))
        process.kill()
        process.communicate()
        run = here / f"run{i}"
        done = (run / "metrics.json").exists()
        assert (figures(run) if done else resumed(f"run{i}")) == alone[0], i
