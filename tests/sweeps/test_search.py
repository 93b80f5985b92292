"""A search goes on where it was stopped, and ends runs that are behind."""

from types import SimpleNamespace

import pytest
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from torch import tensor

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


def test_a_run_reports_its_criterion_to_the_search_and_ends_when_it_is_behind(tmp_path, monkeypatch):
    from vae_lab.sweeps.search import Pruning

    storage = f"sqlite:///{tmp_path}/search.db"
    study = optuna.create_study(study_name="search", storage=storage)
    for _ in range(2):
        finished = study.ask()
        finished.suggest_float("optimizer.lr", 0, 1)
        finished.report(1.0, 0)
        study.tell(finished, 1.0)
    other, own = study.ask(), study.ask()
    other.suggest_float("optimizer.lr", 0, 1)
    value = own.suggest_float("optimizer.lr", 0, 1)
    hydra = {"sweeper": {"study_name": "search", "storage": storage}}
    hydra["overrides"] = {"task": [f"optimizer.lr={value}", "seed=0"]}
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create(hydra))
    trainer = SimpleNamespace(
        current_epoch=0, should_stop=False, callback_metrics={"val/frechet_distance": tensor(2.0)}
    )
    training = SimpleNamespace(model=SimpleNamespace(criterion="frechet_distance"))
    pruning = Pruning(after_runs=1, after_epochs=0)
    pruning.on_fit_start(trainer, training)
    pruning.on_validation_end(trainer, training)
    trials = optuna.load_study(study_name="search", storage=storage).trials
    assert [trial.intermediate_values for trial in trials] == [{0: 1.0}, {0: 1.0}, {}, {0: 2.0}]
    assert trainer.should_stop is True
