"""A search goes on where it was stopped."""

import pytest
from omegaconf import OmegaConf

optuna = pytest.importorskip("optuna")


def test_runs_in_the_middle_of_which_a_search_was_stopped_come_first(tmp_path):
    from vae_lab.sweeps.storage import take_up

    sweeper = OmegaConf.create({"study_name": "search", "storage": f"sqlite:///{tmp_path}/search.db"})
    take_up(sweeper)
    study = optuna.load_study(study_name="search", storage=sweeper.storage)
    finished, stopped = study.ask(), study.ask()
    study.tell(finished, finished.suggest_float("optimizer.lr", 0, 1))
    value = stopped.suggest_float("optimizer.lr", 0, 1)
    take_up(sweeper)
    study = optuna.load_study(study_name="search", storage=sweeper.storage)
    assert study.ask().suggest_float("optimizer.lr", 0, 1) == value
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "RUNNING"]
