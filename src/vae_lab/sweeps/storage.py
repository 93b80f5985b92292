"""What a search with Optuna keeps from one command to the next."""

import logging
import warnings

import optuna
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState
from sqlalchemy import create_engine, inspect

from vae_lab.config.settings import typed
from vae_lab.errors import ConfigError, reason_of


def take_up(sweeper: DictConfig) -> None:
    """Put the runs that had not ended when a search was stopped at the front of its queue.

    Args:
        sweeper: config of Hydra's Optuna sweeper, with the storage.

    Raises:
        ConfigError: if there is no storage, or it cannot be used.
    """
    for name in ("study_name", "storage"):
        if not sweeper[name]:
            reason = "a search continues, and ends runs early, by what it keeps there; leave it out with sweep=search"
            raise ConfigError(f"hydra.sweeper.{name}", typed(sweeper[name]), reason)
    optuna.logging.set_verbosity(logging.WARNING)
    try:
        _check_tables(str(sweeper.storage))
        _put_in_front(optuna.create_study(study_name=sweeper.study_name, storage=sweeper.storage, load_if_exists=True))
    except Exception as error:
        # a broken file, a wrong address, a missing driver: each library behind Optuna has its own exceptions
        reason = f"cannot be used as the database of a search ({reason_of(error)})"
        remedy = "move its file away, or name another with sweep_dir=FOLDER or hydra.sweeper.storage=sqlite:///FILE"
        raise ConfigError("hydra.sweeper.storage", sweeper.storage, f"{reason}; {remedy}") from error


def _check_tables(storage: str) -> None:
    """Raise ValueError for a file of another program, to which Optuna would add its tables."""
    tables = inspect(create_engine(storage)).get_table_names() if storage.startswith("sqlite:") else []
    if tables and "version_info" not in tables:
        raise ValueError("it is a database of another program")


def _put_in_front(study: optuna.Study) -> None:
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            study.enqueue_trial(trial.params)
