"""A run that is killed at any moment and goes on ends as one that was left alone."""

import json
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from helpers import FIGURES, call, finish, start, start_warm, wait_for
from vae_lab.runs.resume import folder_of

# two epochs of 80 steps with everything that has a state: a schedule, warm-up of the KL, drawn bits, early stopping,
# averaged weights
RUN = (
    "trainer.accelerator=cpu",
    "callbacks=early_stopping",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=80",
    "data.batch_size=20",
    "hidden_dims=[32]",
    "loss=sgvb",
    "loss.warmup_epochs=1.5",
    "training.ema=0.9",
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
# the program, that sends itself a signal at the n-th call of a method of the model
SIGNALLED = """
import os, sys, time
method, left, number = (sys.argv.pop(1) for _ in range(3))
left = int(left)
from vae_lab.training.module import Training
real = getattr(Training, method)
def signalled(*arguments):
    global left
    left -= 1
    if left == 0:
        print("sent at", time.time(), flush=True)
        os.kill(os.getpid(), int(number))
    return real(*arguments)
setattr(Training, method, signalled)
from vae_lab.cli import main
main()
"""


def killed(write: int, folder: Path, root: str) -> int:
    """A run that kills itself at that time; its exit code."""
    arguments = (str(write), *RUN, "hydra.run.dir=run")
    return finish(start_warm(*arguments, folder=folder, root=root, script=KILLED_WHILE_WRITING)).returncode


def figures(run: Path) -> tuple[str, dict]:
    metrics = json.loads((run / "metrics.json").read_text())
    timed = {"train/seconds", "train/images_per_second"}
    return (run / "metrics.csv").read_text(), {name: v for name, v in metrics.items() if name not in timed}


@pytest.fixture(scope="module")
def alone(tmp_path_factory, mnist_root):
    """The figures of the run that nobody disturbs, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("alone")
    started = time.monotonic()
    done = finish(start(*RUN, "hydra.run.dir=run", folder=folder, root=mnist_root))
    assert done.returncode == 0, done.stderr
    return figures(folder / "run"), time.monotonic() - started


@pytest.fixture
def here(tmp_path, mnist_root, monkeypatch):
    """The folder that this test's program runs in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_LAB_DATA", mnist_root)
    return tmp_path


def resumed(run: str = "run") -> tuple[str, dict]:
    answer = call(f"resume={run}")
    assert answer.code == 0, answer.err
    return figures(Path(run))


def test_killed_within_an_epoch(here, mnist_root, alone):
    process = start_warm(*RUN, "hydra.run.dir=run", folder=here, root=mnist_root)
    wait_for(here / "run" / "checkpoints" / "last.ckpt")
    process.kill()
    process.communicate()
    assert not (here / "run" / "metrics.json").exists()
    assert resumed() == alone[0]


# after overrides.yaml checkpoints, of which the fifth is best.ckpt of the first epoch, and metrics.csv between them
@pytest.mark.parametrize("write", [3, 7, 9])
def test_killed_while_a_file_is_written(here, mnist_root, alone, write):
    assert killed(write, here, mnist_root) == -signal.SIGKILL
    assert list((here / "run").rglob("*.part"))
    assert resumed() == alone[0]


@pytest.mark.parametrize(
    ("number", "method", "call_of_it", "moment"),
    [
        (signal.SIGINT, "_steps_to_take", 8, "in epoch 2"),
        pytest.param(signal.SIGTERM, "_steps_to_take", 2, "in epoch 1", marks=pytest.mark.slow),
        (signal.SIGTERM, "validation_step", 3, "in epoch 1"),
        pytest.param(signal.SIGINT, "on_train_epoch_end", 1, "in epoch 2", marks=pytest.mark.slow),
        (signal.SIGTERM, "on_train_epoch_end", 1, "in epoch 2"),
        pytest.param(signal.SIGTERM, "on_train_epoch_end", 2, "after training", marks=pytest.mark.slow),
        (signal.SIGTERM, "test_step", 1, "after training"),
    ],
)
def test_a_signal_ends_the_run_with_a_checkpoint_of_that_moment(
    here, mnist_root, alone, number, method, call_of_it, moment
):
    run = (*RUN, "hydra.run.dir=outputs/runs/a", "callbacks.last.every_n_steps=null")
    signalled = (method, str(call_of_it), str(int(number)))
    done = finish(start_warm(*signalled, *run, folder=here, root=mnist_root, script=SIGNALLED))
    ended = time.time()
    assert done.returncode == 128 + number
    assert ended - float(done.stdout.partition("sent at ")[2].split()[0]) < 30  # five seconds on an idle machine
    assert "Traceback" not in done.stderr
    assert f"stopped {moment}; to go on: python -m vae_lab resume=outputs/runs/a" in done.stdout
    assert (here / "outputs" / "runs" / "a" / "checkpoints" / "last.ckpt").exists()
    shutil.move(here / "outputs" / "runs" / "a", here / "outputs" / "runs" / "moved")
    assert call("resume=last").code == 0
    assert figures(here / "outputs" / "runs" / "moved") == alone[0]


@pytest.mark.slow  # twenty seconds, for four processes that start
def test_a_signal_to_one_of_two_processes_ends_both(here, mnist_root):
    several = ("trainer.devices=2", "trainer.strategy=ddp", "trainer.max_epochs=1000", "hydra.run.dir=run")
    process = start(*RUN, *several, folder=here, root=mnist_root)
    wait_for(here / "run" / "metrics.csv")
    process.terminate()
    done = finish(process)
    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert "to go on: python -m vae_lab resume=run" in done.stdout
    assert not (here / "run" / ".lock").exists()


def test_a_run_that_another_process_works_on_is_left_alone(here, mnist_root):
    runs = here / "outputs" / "runs"
    endless = (*RUN, "hydra.run.dir=outputs/runs/a", "trainer.max_epochs=1000")
    process = start_warm(*endless, folder=here, root=mnist_root)
    wait_for(runs / "a" / "checkpoints" / "last.ckpt")
    named, last = call("resume=outputs/runs/a"), call("resume=last")
    assert (named.code, last.code) == (2, 2)
    assert "outputs/runs/a: another process is at work on this run" in named.err
    assert "outputs/runs holds no run that was cut off" in last.err
    process.kill()
    finish(process)
    shutil.copytree(runs / "a", runs / "estimated")  # newer, and nothing to go on with
    config = (runs / "a" / "config.yaml").read_text()
    (runs / "estimated" / "config.yaml").write_text(config.replace("task: train", "task: estimator_check"))
    assert folder_of("last") == "outputs/runs/a"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(here, mnist_root, alone):
    killed(9, here, mnist_root)
    last = here / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:-1000])
    answer = call("resume=run")
    assert answer.code == 0
    assert "last.ckpt: damaged" in answer.out
    assert "going on from run/checkpoints/best.ckpt" in answer.out
    assert figures(here / "run") == alone[0]
    again = call("resume=run")
    assert (again.code, "has finished" in again.err) == (2, True)


def test_a_run_without_a_checkpoint_begins_again(here, mnist_root, alone):
    killed(1, here, mnist_root)
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
        process = start(*RUN, f"hydra.run.dir=run{i}", folder=here, root=mnist_root)
        wait_for(here / f"run{i}" / "config.yaml")
        time.sleep(moments.uniform(0, alone[1] - 3))
        process.kill()
        process.communicate()
        run = here / f"run{i}"
        done = (run / "metrics.json").exists()
        assert (figures(run) if done else resumed(f"run{i}")) == alone[0], i
