"""A search chooses settings, goes on where it was stopped, and ends runs that are behind."""

import math
import re
from types import SimpleNamespace

import hydra
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf
from torch import tensor

from vae_lab.errors import ConfigError
from vae_lab.paths import CONF

optuna = pytest.importorskip("optuna", minversion="5")


def sweeper_of(folder, **changed):
    """The config of a search in a folder, and its study as another process sees it."""
    sweeper = {"study_name": "search", "storage": f"{folder}/search.journal", "n_trials": 3, "n_jobs": 1, **changed}
    return OmegaConf.create(sweeper)


def study_of(sweeper):
    from vae_lab.sweeps.storage import storage_of

    return optuna.load_study(study_name=sweeper.study_name, storage=storage_of(sweeper.storage))


@pytest.mark.parametrize("address", ["search.journal", "sqlite:///{}/search.db"])
def test_runs_in_the_middle_of_which_a_search_was_stopped_come_first(tmp_path, address):
    from vae_lab.sweeps.storage import take_up

    storage = address.format(tmp_path) if "://" in address else f"{tmp_path}/{address}"
    sweeper = sweeper_of(tmp_path, storage=storage)
    take_up(sweeper)
    study = study_of(sweeper)
    finished, stopped = study.ask(), study.ask()
    study.tell(finished, finished.suggest_float("optimizer.lr", 0, 1))
    value = stopped.suggest_float("optimizer.lr", 0, 1)
    take_up(sweeper)
    study = study_of(sweeper)
    assert study.ask().suggest_float("optimizer.lr", 0, 1) == value
    states = [trial.state.name for trial in study.trials]
    assert states == ["COMPLETE", "FAIL", "RUNNING"]


def test_a_run_reports_its_criterion_to_the_search_and_ends_when_it_is_behind(tmp_path, monkeypatch):
    from vae_lab.sweeps.search import Pruning
    from vae_lab.sweeps.storage import take_up

    sweeper = sweeper_of(tmp_path)
    study = take_up(sweeper)
    for _ in range(2):
        finished = study.ask()
        finished.suggest_float("optimizer.lr", 0, 1)
        finished.report(1.0, 0)
        study.tell(finished, 1.0)
    space = {"optimizer": optuna.distributions.CategoricalDistribution(["adam"])}  # two runs with the same settings
    own, _ = study.ask(space), study.ask(space)
    of_run = {"sweeper": {**sweeper, "trial": own.number}}
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create(of_run))
    trainer = SimpleNamespace(
        current_epoch=0, should_stop=False, callback_metrics={"val/frechet_distance": tensor(2.0)}
    )
    training = SimpleNamespace(model=SimpleNamespace(criterion="frechet_distance"))
    pruning = Pruning(after_runs=1, after_epochs=0)
    pruning.on_fit_start(trainer, training)
    pruning.on_validation_end(trainer, training)
    trials = study_of(sweeper).trials
    assert [trial.intermediate_values for trial in trials] == [{0: 1.0}, {0: 1.0}, {0: 2.0}, {}]
    assert trainer.should_stop is True


class Recorder:
    """Takes the place of a launcher: the value of a run is a function of its overrides."""

    def __init__(self, value):
        self.value, self.batches = value, []

    def launch(self, job_overrides, initial_job_idx):
        assert initial_job_idx == sum(map(len, self.batches))
        self.batches.append([dict(word.split("=", 1) for word in words) for words in job_overrides])
        return [
            JobReturn(status=JobStatus.COMPLETED, _return_value=self.value(settings)) for settings in self.batches[-1]
        ]


def searched(folder, *words, value, **changed):
    """The overrides of each batch of runs of a search over the space of some words, and its study."""
    from vae_lab.sweeps import trials
    from vae_lab.sweeps.storage import take_up

    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", ["hydra/sweeper=search"], return_hydra_config=True)
        OmegaConf.set_readonly(config.hydra, False)
        config.hydra.overrides.task = list(words)
        sweeper = sweeper_of(folder, **changed)
        trials.check_space(trials.space_of(config)[0], take_up(sweeper))
        launcher = Recorder(value)
        sampler = optuna.samplers.TPESampler(seed=0)
        trials.run_all(SimpleNamespace(config=config, launcher=launcher, sampler=sampler, **sweeper))
    return launcher.batches, study_of(sweeper)


SPACE = {
    "optimizer.lr=tag(log,interval(1e-4,1e-2))": lambda text: 1e-4 <= float(text) <= 1e-2,
    "latent_dim=int(interval(2,5))": lambda text: text in ("2", "3", "4", "5"),
    "loss.samples=range(1,4)": lambda text: text in ("1", "2", "3"),
    "loss.coeff=range(0.5,1.5,0.25)": lambda text: float(text) in (0.5, 0.75, 1.0, 1.25),
    "hidden_dims=shuffle([8],[16,8])": lambda text: text in ("[8]", "[16,8]"),
    "data.root='a b',null": lambda text: text in ("'a b'", "null"),
    "prior=glob(m*)": lambda text: text == "mixture",
}


def test_every_kind_of_value_becomes_what_was_typed(tmp_path):
    words = ("seed=7", "latent_dim=9", *SPACE, "model=vae")  # the later one of a key counts
    runs = []
    for _ in range(2):  # the second command continues the first one's search
        batches, _ = searched(tmp_path, *words, value=lambda _: 1.0, n_trials=10)
        runs += [run for batch in batches for run in batch]
    assert [int(run["hydra.sweeper.trial"]) for run in runs] == list(range(20))
    for word, is_allowed in SPACE.items():
        values = {run[word.partition("=")[0]] for run in runs}
        assert all(map(is_allowed, values))
        assert len(values) > 1 or word.startswith("prior")
    assert all(run["seed"] == "7" and run["model"] == "vae" for run in runs)


def test_a_search_finds_the_lowest_value_and_takes_a_failed_run_for_the_worst(tmp_path):
    def value(run):
        x = float(run["optimizer.lr"])
        return math.inf if x > 0.8 else (x - 0.3) ** 2

    batches, study = searched(tmp_path, "optimizer.lr=interval(0.0,1.0)", value=value, n_trials=40, n_jobs=3)
    assert [len(batch) for batch in batches] == [3] * 13 + [1]
    assert study.best_params["optimizer.lr"] == pytest.approx(0.3, abs=0.05)
    late = [float(run["optimizer.lr"]) for batch in batches[-4:] for run in batch]
    assert max(late) <= 0.8


BETWEEN = {
    "other values": ("loss.coeff=1,2", "loss.coeff=1,4", "loss.coeff=1,4: this search has chosen from 1,2 before"),
    "an interval": ("loss.coeff=1,2", "loss.coeff=interval(1,4)", "loss.coeff=an interval: this search has chosen"),
    "nothing to choose": ("loss.coeff=1,2", "loss.coeff=1", "nothing is left to choose"),
    "a scale of steps": ("loss.coeff=1,2", "loss.coeff=tag(log,range(1,4))", "a range has no scale"),
}


@pytest.mark.parametrize("name", BETWEEN)
def test_choices_that_cannot_be_searched_are_refused(tmp_path, name):
    first, then, says = BETWEEN[name]
    searched(tmp_path, first, value=lambda _: 1.0, n_trials=1)
    with pytest.raises(ConfigError, match=re.escape(says)):
        searched(tmp_path, then, value=lambda _: 1.0, n_trials=1)


def test_another_interval_continues_a_search(tmp_path):
    searched(tmp_path, "loss.coeff=interval(1.0,2.0)", value=lambda _: 1.0, n_trials=1)
    _, study = searched(tmp_path, "loss.coeff=interval(3.0,4.0)", value=lambda _: 1.0, n_trials=1)
    assert [int(trial.params["loss.coeff"]) for trial in study.trials] == [1, 3]
