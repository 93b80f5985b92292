"""Runs that start at the same moment: each has its own folder, and the data come once and whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

from vae_lab.data import files

RUNS = int(os.environ.get("VAE_LAB_RUNS_AT_ONCE", "2"))  # the reliability document's figures are of 8
SHORT = ("debug=fast", "trainer.accelerator=cpu", "hidden_dims=[8]", "data.eval_batch_size=100", "logger=csv")


def start(folder: Path, cache: Path, *arguments: str) -> subprocess.Popen:
    environment = os.environ | {"VAE_LAB_DATA": str(cache), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "vae_lab", *SHORT, *arguments]
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_runs_that_start_at_once_share_nothing_but_the_data(tmp_path):
    cache = tmp_path / "cache"
    started = [start(tmp_path, cache, f"seed={seed}") for seed in range(RUNS)]
    answers = [process.communicate(timeout=400) for process in started]
    for process, (_, err) in zip(started, answers, strict=True):
        assert process.returncode == 0, err
    folders = list((tmp_path / "outputs" / "runs").iterdir())
    assert len(folders) == RUNS
    seeds = [json.loads((folder / "metrics.json").read_text())["seed"] for folder in folders]
    assert sorted(seeds) == list(range(RUNS))
    # one of them fetched, the others waited, and what came is whole and alone
    assert sum("fetching MNIST" in out for out, _ in answers) <= 1
    names = {path.name for path in (cache / "MNIST" / "raw").iterdir()}
    assert names in ({".lock", *files.FILES}, {".lock", *(f"{name}.gz" for name in files.FILES)})
    (train, _), _ = files.load("mnist", str(cache))
    assert len(train) == 60_000


def test_of_runs_that_want_one_folder_one_gets_it(tmp_path, mnist_root):
    started = [start(tmp_path, Path(mnist_root), "hydra.run.dir=run", f"seed={seed}") for seed in range(RUNS)]
    answers = [process.communicate(timeout=400)[1] for process in started]
    codes = sorted(process.returncode for process in started)
    assert codes == [0] + [2] * (RUNS - 1), answers
    for process, err in zip(started, answers, strict=True):
        if process.returncode:
            assert "hydra.run.dir=" in err
            assert "holds a run already; name another folder" in err
        else:
            winner = started.index(process)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["seed"] == winner
    assert f"seed: {winner}\n" in (tmp_path / "run" / "config.yaml").read_text()
