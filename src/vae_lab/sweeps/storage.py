"""What a search with Optuna keeps from one command to the next."""

import logging
import warnings

import optuna
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.trial import TrialState


def take_up(sweeper: DictConfig) -> None:
    """Put the runs that were under way when a search was stopped at the front of its queue.

    Args:
        sweeper: config of Hydra's Optuna sweeper, with the storage.
    """
    logging.getLogger("alembic").setLevel(logging.WARNING)  # it logs every part that it loads
    optuna.logging.set_verbosity(logging.WARNING)
    study = optuna.create_study(study_name=sweeper.study_name, storage=sweeper.storage, load_if_exists=True)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        with warnings.catch_warnings(action="ignore", category=ExperimentalWarning):
            study.enqueue_trial(trial.params)
