"""Sweeps as people start them: what is skipped, continued, refused, and said at the end."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from helpers import IMPORTS_TOLD, finish, start, start_warm, wait_for

TINY = """# @package _global_
hidden_dims: [16]
trainer: {accelerator: cpu, max_epochs: 2, limit_train_batches: 5, limit_val_batches: 2, limit_test_batches: 2}
callbacks:
  {reconstructions: null, samples: null, latent_grid: null, interpolation: null, latent_scatter: null, nelbo: null}
"""
TIMED = {"train/seconds", "train/images_per_second"}


def begin(*arguments: str, folder: Path, starts=start_warm, **options):
    """The program with a recipe that takes half a second; ``starts=start`` where a launcher starts others from it."""
    recipes = folder / "recipes" / "experiment"
    recipes.mkdir(parents=True, exist_ok=True)
    (recipes / "tiny.yaml").write_text(TINY)
    return starts(f"--config-dir={recipes.parent}", *arguments, "experiment=tiny", folder=folder, **options)


@pytest.fixture(scope="module")
def program(mnist_root):
    def run(*arguments: str, folder: Path, **options) -> subprocess.CompletedProcess:
        return finish(begin(*arguments, folder=folder, root=mnist_root, **options))

    return run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, program):
    """A sweep of four runs, two of which fail; its folder, and what the program said."""
    folder = tmp_path_factory.mktemp("sweep")
    arguments = ("-m", "sweep_dir=sweep", "loss.coeff=0.5,2", "optimizer.lr=1e-3,1e30")
    done = program(*arguments, folder=folder, starts=start)
    return folder / "sweep", done


def figures(run: Path) -> dict:
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name not in TIMED}


def runs(sweep: Path) -> dict[str, Path]:
    return {path.name: path for path in sweep.iterdir() if path.is_dir() and not path.name.startswith(".")}


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in [folder, *folder.rglob("*")]}


GOOD = ("loss.coeff=0.5,optimizer.lr=0.001", "loss.coeff=2,optimizer.lr=0.001")
BAD = ("loss.coeff=0.5,optimizer.lr=1e+30", "loss.coeff=2,optimizer.lr=1e+30")


def test_failed_runs_do_not_end_the_sweep_and_are_named_at_its_end(sweep):
    folder, done = sweep
    assert done.returncode == 1
    assert set(runs(folder)) == {*GOOD, *BAD}
    for name in GOOD:
        assert figures(folder / name)["test/nelbo"] > 0
        assert not (folder / name / "failure.txt").exists()
    for name in BAD:
        (reason,) = (folder / name / "failure.txt").read_text().splitlines()
        assert reason.startswith("training stopped in epoch 0")
        assert f"failed: {name}: {reason}" in done.stdout
        assert not (folder / name / "metrics.json").exists()
    assert "Traceback" not in done.stdout + done.stderr
    assert (folder / "report.html").exists()
    (line,) = done.stderr.splitlines()
    assert line.startswith("vae_lab: 2 failed")
    again = shlex.split(line.partition("again: ")[2])
    assert again[:3] == ["python", "-m", "vae_lab"]
    assert "sweep_dir=sweep" in again


def test_a_run_gives_what_it_gives_alone(sweep, program, tmp_path):
    folder, _ = sweep
    done = program("hydra.run.dir=alone", "loss.coeff=2", "optimizer.lr=1e-3", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert figures(tmp_path / "alone") == figures(folder / GOOD[1])


def test_the_same_command_leaves_finished_runs_alone_and_does_the_others_again(sweep, program):
    folder, _ = sweep
    (folder / GOOD[1] / "metrics.json").rename(folder / "kept.json")  # as if it had been cut off
    before = {name: times(folder / name) for name in (GOOD[0], *BAD)}
    expected = json.loads((folder / "kept.json").read_text())["test/nelbo"]
    arguments = ("-m", "sweep_dir=sweep", "loss.coeff=0.5,2", "optimizer.lr=1e-3,1e30")
    done = program(*arguments, folder=folder.parent)
    assert done.returncode == 1
    assert times(folder / GOOD[0]) == before[GOOD[0]]
    assert f"{GOOD[0]}: finished before" in done.stdout
    for name in BAD:
        assert times(folder / name) != before[name]
    assert figures(folder / GOOD[1])["test/nelbo"] == expected


def test_a_finished_sweep_is_looked_through_at_once(sweep, program):
    folder, _ = sweep
    arguments = ("-m", "sweep_dir=sweep", "loss.coeff=0.5,2", "optimizer.lr=1e-3")
    done = program(*arguments, folder=folder.parent, starts=start, program=IMPORTS_TOLD)
    assert done.stdout.count("finished before") == 2
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert "vae_lab.sweeps.job" in imported
    assert "vae_lab.tasks.run" not in imported


def test_parallel_runs_give_what_serial_ones_give(sweep, program, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = ("-m", "hydra/launcher=parallel", "sweep_dir=sweep", "loss.coeff=2", "optimizer.lr=1e-3,1e30")
    done = program(*arguments, "hydra.launcher.n_jobs=2", folder=tmp_path, starts=start)
    assert done.returncode == 1
    good = tmp_path / "sweep" / "optimizer.lr=0.001"
    told = (good / "run.log").read_text()
    assert "memory: the data set takes 55 MB of cpu in this process, as in each of the 2 that run at once" in told
    assert figures(good) == figures(sweep[0] / GOOD[1])
    assert "failed: optimizer.lr=1e+30: training stopped" in done.stdout


def test_an_unexpected_error_leaves_its_traceback_in_the_log(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, importlib.abc\n"
        "class Break(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'vae_lab.tasks.run': raise RuntimeError('a disk\\nwent away')\n"
        "sys.meta_path.insert(0, Break())\n"
    )
    script = "import sitecustomize, vae_lab.cli; vae_lab.cli.main()"
    command = [sys.executable, "-c", script, "-m", "sweep_dir=sweep", "seed=0"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "failed: seed=0: RuntimeError: a disk went away" in done.stdout
    assert (tmp_path / "sweep" / "seed=0" / "failure.txt").read_text() == "RuntimeError: a disk went away\n"
    assert "Traceback" in (tmp_path / "sweep" / "seed=0" / "run.log").read_text()


MISTAKES = {
    "several devices": (["-m", "trainer.devices=2", "seed=0,1"], "trainer.devices=2", "make a single run"),
    "several devices in one of them": (["-m", "trainer.devices=1,2"], "trainer.devices=2", "trainer.devices=1"),
    "a misspelt key": (["-m", "optimizer.lrr=1,2"], "optimizer.lrr=1,2", "did you mean optimizer.lr?"),
    "no multirun": (["sweep_dir=sweep"], "sweep_dir=sweep", "add -m"),
    "a cluster for another task": (
        ["-m", "hydra/launcher=slurm", "task=estimator_check", "seed=0,1"],
        "task=estimator_check",
        "hydra/launcher=basic",
    ),
    "no such launcher": (["-m", "hydra/launcher=paralel"], "hydra/launcher=paralel", "did you mean parallel?"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_known_before_the_first_run(program, tmp_path, name):
    overrides, names, remedy = MISTAKES[name]
    done = program(*overrides, folder=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("vae_lab: ")
    assert names in line
    assert remedy in line
    assert [path.name for path in tmp_path.iterdir() if path.name != "outputs"] == ["recipes"]
    assert not [path for path in tmp_path.rglob("outputs/**/*") if path.is_file()]


def test_ctrl_c_ends_the_sweep_with_the_command_that_continues_it(tmp_path, mnist_root):
    arguments = ("-m", "sweep_dir=a sweep", "trainer.max_epochs=500", "seed=0,1")
    process = begin(*arguments, folder=tmp_path, root=mnist_root)
    wait_for(tmp_path / "a sweep" / "seed=0" / "metrics.csv")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    command = shlex.split(re.findall(r"to go on: (.*)", out)[0])
    assert command[:3] == ["python", "-m", "vae_lab"]
    assert {"-m", "seed=0,1", "sweep_dir=a sweep"} <= set(command)
    assert len(runs(tmp_path / "a sweep")) == 1


def test_a_search_ends_bad_runs_early_and_goes_on(program, tmp_path):
    pytest.importorskip("optuna", minversion="5")
    space = ("loss.samples=1", "optimizer.lr=tag(log, interval(1e-8, 1e-2))", "hydra.sweeper.sampler.seed=1")
    early = ("callbacks.pruning.after_runs=2", "callbacks.pruning.after_epochs=1", "trainer.max_epochs=4")
    arguments = ("sweep=search", "sweep_dir=search", "hydra.sweeper.n_trials=4", *space, *early)
    done = program(*arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    found = [figures(run) for run in runs(tmp_path / "search").values()]
    assert len(found) == 4
    assert {metrics["epochs"] for metrics in found} > {4}
    best = min(found, key=lambda metrics: metrics["best/nelbo"])
    assert best["epochs"] == 4
    assert f"Best value: {best['best/nelbo']}" in done.stdout
    more = ("hydra.sweeper.n_trials=1", "hydra.sweeper.sampler.seed=2")
    assert program(*arguments, *more, folder=tmp_path).returncode == 0
    assert len(runs(tmp_path / "search")) == 5


def test_a_search_has_one_process_at_a_time(program, tmp_path):
    pytest.importorskip("optuna", minversion="5")
    (tmp_path / "search").mkdir()
    with FileLock(tmp_path / "search" / ".search.lock"):
        done = program("sweep=search", "sweep_dir=search", folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "vae_lab: sweep_dir=search: another process is at work on this search; wait for it, or name another folder\n"
    )


def test_another_task_is_done_again_and_never_becomes_a_training(program, tmp_path):
    parts = ("loss=sgvb", "prior=standard_normal,mixture", "latent_dim=2")
    arguments = ("-m", "task=estimator_check", *parts, "sweep_dir=sweep")
    names = set()
    for _ in range(2):
        done = program(*arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        found = runs(tmp_path / "sweep")
        names |= set(found)
        assert len(found) == 2
        for run in found.values():
            assert "estimator/value" in figures(run)
            assert not (run / "checkpoints").exists()
    assert len(names) == 2


def test_a_failure_of_an_earlier_command_is_not_this_one_s(program, tmp_path):
    failed = tmp_path / "sweep" / "optimizer.lr=1e30"
    failed.mkdir(parents=True)
    (failed / "failure.txt").write_text("the loss was not finite\n")
    done = program("-m", "sweep_dir=sweep", "loss.coeff=2", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "the loss was not finite" in done.stdout


SLURM = ("-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=5")
needs_slurm = pytest.mark.skipif(
    shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ, reason="there is no SLURM here"
)


@pytest.mark.slurm
@needs_slurm
def test_a_job_array_gives_what_serial_runs_give(sweep, program, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    arguments = (*SLURM, "sweep_dir=sweep", "loss.coeff=0.5,2", "optimizer.lr=1e-3,1e30")
    done = program(*arguments, folder=tmp_path, starts=start)
    assert done.returncode == 1
    for name in GOOD:
        assert figures(tmp_path / "sweep" / name) == figures(sweep[0] / name)
    for name in BAD:
        assert "not finite" in (tmp_path / "sweep" / name / "failure.txt").read_text()
    assert done.stdout.count("not finite") == 2
    assert len(list((tmp_path / "sweep" / ".slurm").glob("*_[0-3]/*_log.out"))) == 4


@pytest.mark.slow  # SLURM lets a job rest for two minutes before it starts again
@pytest.mark.slurm
@needs_slurm
def test_jobs_that_are_killed_or_out_of_time_are_run_again(tmp_path, mnist_root):
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    arguments = (*SLURM, "sweep_dir=sweep", "trainer.max_epochs=300", "seed=0,1")
    process = begin(*arguments, folder=tmp_path, starts=start, root=mnist_root)
    found = [tmp_path / "sweep" / f"seed={seed}" for seed in (0, 1)]
    wait_for(*(run / "metrics.csv" for run in found), seconds=120)
    (array,) = {path.name.partition("_")[0] for path in (tmp_path / "sweep" / ".slurm").glob("*_0")}
    subprocess.run(["scancel", f"{array}_0"], check=True)
    subprocess.run(["scancel", "--signal=USR2", f"{array}_1"], check=True)  # as SLURM does before the time limit
    out, err = process.communicate(timeout=500)
    assert process.returncode == 0, err
    assert f"{found[0].name}: its job was killed" in out
    assert f"{found[1].name}: its job was killed" not in out
    for run in found:
        assert figures(run)["epochs"] == 300


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "parallel"])
def test_a_sweep_that_was_killed_ends_as_one_that_was_not(program, tmp_path, mnist_root, launcher):
    if launcher == "parallel":
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = ("-m", f"hydra/launcher={launcher}", "trainer.max_epochs=8", "seed=0,1,2,3")
    name = "seed={}"
    process = begin(*arguments, "sweep_dir=killed", folder=tmp_path, starts=start, root=mnist_root)
    killed = tmp_path / "killed"
    wait_for(killed / name.format(0) / "metrics.json", killed / name.format(2) / "metrics.csv")
    os.killpg(process.pid, signal.SIGKILL)  # the program and the processes that it started
    process.communicate()
    finished = [run for run in runs(killed).values() if (run / "metrics.json").exists()]
    assert 0 < len(finished) < 4
    before = {run: times(run) for run in finished}
    done = program(*arguments, "sweep_dir=killed", folder=tmp_path, starts=start)
    assert done.returncode == 0, done.stderr
    assert {run: times(run) for run in finished} == before
    assert program(*arguments, "sweep_dir=undisturbed", folder=tmp_path, starts=start).returncode == 0
    assert {run: figures(path) for run, path in runs(killed).items()} == {
        run: figures(path) for run, path in runs(tmp_path / "undisturbed").items()
    }
