"""A sweep that no run of which can work is refused before its first run, with one line and without a folder."""

import shutil
import sqlite3

import pytest

from helpers import TINY, call

pytest.importorskip("optuna")


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
    assert (tmp_path / "a ? and = more" / "search.db").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a ? and = more", "lists"]


STORAGES = {
    "none": (["hydra.sweeper.storage=null"], "hydra.sweeper.storage=null: "),
    "no name": (["hydra.sweeper.study_name=null"], "hydra.sweeper.study_name=null: "),
    "no address": (["hydra.sweeper.storage=search.db"], "hydra.sweeper.storage=search.db: "),
    "no folder": (["hydra.sweeper.storage=sqlite:///no/such/a.db"], "unable to open database file"),
    "no driver": (["hydra.sweeper.storage=postgresql://a@b/c"], "hydra.sweeper.storage=postgresql://a@b/c: "),
    "an interval of the wrong kind": (["latent_dim=interval(1.5,3)"], "latent_dim=1.5: "),
}


@pytest.mark.parametrize("name", STORAGES)
def test_a_search_that_can_keep_nothing_is_refused(tmp_path, name):
    overrides, says = STORAGES[name]
    assert says in refusal("sweep=search", "sweep_dir=search", *overrides)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("broken", ["no database", "cut off", "a folder", "of another program"])
def test_a_broken_database_is_named_with_the_remedy_and_stays(tmp_path, broken):
    from omegaconf import OmegaConf

    from vae_lab.sweeps.storage import take_up

    file = tmp_path / "search" / "search.db"
    file.parent.mkdir()
    if broken == "a folder":
        file.mkdir()
    elif broken == "no database":
        file.write_text("hello")
    elif broken == "cut off":
        take_up(OmegaConf.create({"study_name": "search", "storage": f"sqlite:///{file}"}))
        file.write_bytes(file.read_bytes()[:20_000])
    else:
        with sqlite3.connect(file) as database:
            database.execute("create table studies (other text)")
    before = file.read_bytes() if file.is_file() else None
    line = refusal("sweep=search", "sweep_dir=search")
    assert "hydra.sweeper.storage=sqlite:///search/search.db: cannot be used" in line
    assert "sweep_dir=FOLDER" in line
    assert (file.read_bytes() if file.is_file() else None) == before
    shutil.rmtree(file.parent)


def test_two_folders_with_a_question_mark_are_two_searches(tmp_path):
    from omegaconf import OmegaConf

    from vae_lab.sweeps.folders import search_database
    from vae_lab.sweeps.storage import take_up

    for name in ("a?b", "a?c", "a%3Fb", "50%", "#1", "a=b,c", "ü ü"):
        (tmp_path / name).mkdir()
        take_up(OmegaConf.create({"study_name": "search", "storage": search_database(name)}))
        assert [path.name for path in (tmp_path / name).iterdir()] == ["search.db"]
    assert len(list(tmp_path.iterdir())) == 7
