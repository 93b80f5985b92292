"""Runs that start at the same moment: each has its own folder, and the data come once and whole."""

import json
import os

from helpers import finish, start_warm
from vae_lab.data import mnist_files as files

RUNS = int(os.environ.get("VAE_LAB_RUNS_AT_ONCE", "2"))  # the reliability document's figures are of 8
SHORT = ("debug=fast", "trainer.accelerator=cpu", "hidden_dims=[8]", "data.eval_batch_size=100", "logger=csv")


def test_runs_that_start_at_once_share_nothing_but_the_data(tmp_path):
    cache = tmp_path / "cache"
    started = [start_warm(*SHORT, f"seed={seed}", folder=tmp_path, root=cache) for seed in range(RUNS)]
    answers = [finish(process) for process in started]
    for answer in answers:
        assert answer.returncode == 0, answer.stderr
    folders = list((tmp_path / "outputs" / "runs").iterdir())
    assert len(folders) == RUNS
    seeds = [json.loads((folder / "metrics.json").read_text())["seed"] for folder in folders]
    assert sorted(seeds) == list(range(RUNS))
    # one of them fetched, the others waited, and what came is whole and alone
    assert sum("fetching MNIST" in answer.stdout for answer in answers) <= 1
    names = {path.name for path in (cache / "MNIST" / "raw").iterdir()}
    assert names in ({".lock", *files.FILES}, {".lock", *(f"{name}.gz" for name in files.FILES)})
    (train, _), (test, _) = files.load("mnist", str(cache))
    assert len(train) == 60_000
    assert test.sum() == 264_923_200


def test_of_runs_that_want_one_folder_one_gets_it(tmp_path, mnist_root):
    one = (*SHORT, "hydra.run.dir=run")
    started = [start_warm(*one, f"seed={seed}", folder=tmp_path, root=mnist_root) for seed in range(RUNS)]
    answers = [finish(process) for process in started]
    (winner,) = (seed for seed, answer in enumerate(answers) if answer.returncode == 0)
    for answer in answers[:winner] + answers[winner + 1 :]:
        assert answer.returncode == 2, answer.stderr
        assert answer.stderr.count("\n") == 1
        # by the lock of the one at work, or by the config that it wrote
        assert "name another folder" in answer.stderr
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["seed"] == winner
    assert f"seed: {winner}\n" in (tmp_path / "run" / "config.yaml").read_text()
