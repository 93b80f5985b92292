"""A sweep that no run of which can work is refused before its first run, with one line and without a folder."""

import shutil
import sqlite3

import pytest

from helpers import TINY, call

pytest.importorskip("optuna", minversion="5")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)


def refusal(*arguments: str) -> str:
    """The one line with which a command is refused."""
    answer = call(*arguments)
    assert answer.code == 2, answer
    (line,) = answer.err.splitlines()
    assert "Traceback" not in answer.out
    return line.removeprefix("vae_lab: ")


VALUES = {
    "numbers where a list is": (["hidden_dims=256,512"], "hidden_dims=256: ", "brackets: hidden_dims=[300,300]"),
    "numbers for channels": (["channels=32,64"], "channels=32: ", "brackets: channels=[32,64]"),
    "one wrong among right ones": (["hidden_dims=[8],[0]"], "hidden_dims=[0]: ", "must be greater"),
    "a wrong second value": (["optimizer.lr=1e-3,-1"], "optimizer.lr=-1: ", "greater than 0"),
    "text for a number": (["latent_dim=2,many"], "latent_dim=many: ", "valid integer"),
    "no such word": (["matmul=auto,mkl"], "matmul=mkl: ", "'auto'"),
    "the end of a range": (["latent_dim=range(0,3)"], "latent_dim=0: ", "must be greater"),
    "a fixed value": (["latent_dim=-1", "seed=0,1"], "latent_dim=-1: ", "must be greater"),
    "wrong with each choice": (["optimizer=adam,adamw", "optimizer.lr=-1"], "optimizer.lr=-1: ", "greater than 0"),
    "an interval": (["optimizer.lr=interval(1e-4,1e-2)"], "optimizer.lr=interval(1e-4,1e-2): ", "add sweep=search"),
    "an interval with a tag": (
        ["loss.coeff=tag(log,interval(1,4))"],
        "loss.coeff=tag(log,interval",
        "add sweep=search",
    ),
    "an interval of integers": (["latent_dim=int(interval(1,4))"], "latent_dim=int(interval(1,4))", "add sweep=search"),
    "a page": (["task=explore", "run_dir=a,b"], "task=explore: ", "leave out -m"),
    "a launcher without restarts": (["hydra/launcher=submitit_local"], "submitit_local: ", "hydra/launcher=parallel"),
    "a launcher of a cluster": (["hydra/launcher=submitit_slurm"], "submitit_slurm: ", "hydra/launcher=slurm"),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_is_wrong_in_every_run_is_refused_before_the_first(tmp_path, name):
    overrides, begins, says = VALUES[name]
    if "submitit" in str(overrides):
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    line = refusal("-m", "sweep_dir=sweep", *overrides)
    assert begins in line
    assert says in line
    assert not list(tmp_path.iterdir())


def test_values_that_do_not_fit_together_are_left_to_their_own_run(tmp_path):
    clip = ("optimizer.fused=true,false", "trainer.precision=bf16-mixed,32-true", "trainer.gradient_clip_val=1")
    answer = call("-m", "sweep_dir=sweep", *TINY, *clip)
    assert answer.code == 1
    assert "1 failed" in answer.err
    assert len(list((tmp_path / "sweep").glob("*/metrics.json"))) == 3


def test_the_remedies_work(tmp_path):
    assert call("-m", "sweep_dir=lists", *TINY, "hidden_dims=[5],[6]").code == 0
    search = ("-m", "optimizer.lr=interval(1e-4,1e-2)", "sweep=search", "hydra.sweeper.n_trials=1", "loss.samples=1")
    answer = call(*search, *TINY, "sweep_dir=a ? and = more")
    assert answer.code == 0, answer.err
    assert "tensorboard --logdir 'a ? and = more'" in answer.out
    assert (tmp_path / "a ? and = more" / "search.journal").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a ? and = more", "lists"]


STORAGES = {
    "none": (["hydra.sweeper.storage=null"], "hydra.sweeper.storage=null: "),
    "no name": (["hydra.sweeper.study_name=null"], "hydra.sweeper.study_name=null: "),
    "no folder": (["hydra.sweeper.storage=no/such/a.journal"], "hydra.sweeper.storage=no/such/a.journal: "),
    "no folder of a database": (["hydra.sweeper.storage=sqlite:///no/such/a.db"], "unable to open database file"),
    "no driver": (["hydra.sweeper.storage=postgresql://a@b/c"], "hydra.sweeper.storage=postgresql://a@b/c: "),
    "no runs": (["hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials=0: must be a whole number, 1 or more"),
    "no number": (["hydra.sweeper.n_jobs=two"], "hydra.sweeper.n_jobs=two: must be a whole number, 1 or more"),
    "nothing to choose": (["optimizer.lr=1e-3", "loss.samples=1"], "nothing is left to choose"),
    "an interval of the wrong kind": (["latent_dim=interval(1.5,3)"], "latent_dim=1.5: "),
}


@pytest.mark.parametrize("name", STORAGES)
def test_a_search_that_can_keep_nothing_is_refused(tmp_path, name):
    overrides, says = STORAGES[name]
    assert says in refusal("sweep=search", "sweep_dir=search", *overrides)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", ["no journal", "cut off", "a folder", "of another program", "a database"])
def test_a_broken_storage_is_named_with_the_remedy_and_stays(tmp_path, broken):
    file = tmp_path / "search" / ("search.db" if broken == "a database" else "search.journal")
    address = "sqlite:///search/search.db" if broken == "a database" else "search/search.journal"
    file.parent.mkdir()
    if broken == "a folder":
        file.mkdir()
    elif broken == "a database":
        with sqlite3.connect(file) as database:
            database.execute("create table studies (other text)")
    else:
        texts = {"no journal": "hello", "cut off": '{"op_code":0}\n{"op_co', "of another program": '{"a": 1}\n'}
        file.write_text(texts[broken])
    before = file.read_bytes() if file.is_file() else None
    line = refusal("sweep=search", "sweep_dir=search", f"hydra.sweeper.storage={address}")
    assert f"hydra.sweeper.storage={address}: cannot be used" in line
    assert "sweep_dir=FOLDER" in line
    assert (file.read_bytes() if file.is_file() else None) == before
    shutil.rmtree(file.parent)


def test_a_search_of_an_earlier_version_is_named_with_the_way_to_continue_it(tmp_path):
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search.db").write_bytes(b"of Optuna 2")
    line = refusal("sweep=search", "sweep_dir=search")
    assert "optuna storage upgrade --storage sqlite:///search/search.db" in line
    assert "hydra.sweeper.storage=sqlite:///search/search.db" in line
    assert not (tmp_path / "search" / "search.journal").exists()
