"""What a search with Optuna keeps from one command to the next."""

import json
import logging
import warnings
from pathlib import Path

import optuna
from omegaconf import DictConfig
from optuna.exceptions import ExperimentalWarning
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from sqlalchemy import create_engine, inspect

from vae_lab.config.settings import typed
from vae_lab.errors import ConfigError, reason_of
from vae_lab.paths import argument

EARLIER = "search.db"  # what earlier versions kept


def storage_of(address: str) -> BaseStorage:
    """The storage of a search.

    Args:
        address: path of a journal file, which is made where there is none, or address of a database.
    """
    return RDBStorage(address) if "://" in address else JournalStorage(JournalFileBackend(address))


def take_up(sweeper: DictConfig) -> optuna.Study:
    """The search, new or as it was left: the runs in which it was stopped are at the front of its queue.

    Args:
        sweeper: config of the sweeper, with the storage.

    Raises:
        ConfigError: if a value is not allowed, or the storage cannot be used.
    """
    for name in ("study_name", "storage"):
        if not sweeper[name]:
            reason = "a search continues, and ends runs early, by what it keeps there; leave it out with sweep=search"
            raise ConfigError(f"hydra.sweeper.{name}", typed(sweeper[name]), reason)
    for name in ("n_trials", "n_jobs"):
        if type(sweeper[name]) is not int or sweeper[name] < 1:
            raise ConfigError(f"hydra.sweeper.{name}", typed(sweeper[name]), "must be a whole number, 1 or more")
    optuna.logging.set_verbosity(logging.WARNING)
    address = str(sweeper.storage)
    _refuse_earlier(Path(address))
    try:
        (_check_tables if "://" in address else _check_journal)(address)
        storage, name = storage_of(address), sweeper.study_name
        study = optuna.create_study(study_name=name, storage=storage, load_if_exists=True)
        _put_in_front(study)
    except Exception as error:
        # a broken file, a wrong address, a missing driver: each library behind Optuna has its own exceptions
        reason = f"cannot be used as the storage of a search ({reason_of(error)})"
        remedy = "move its file away, or name another with sweep_dir=FOLDER or hydra.sweeper.storage=FILE"
        raise ConfigError("hydra.sweeper.storage", sweeper.storage, f"{reason}; {remedy}") from error
    return study


def _refuse_earlier(journal: Path) -> None:
    """Refuse to begin again in the folder of a search that an earlier version began."""
    database = journal.parent / EARLIER
    if database.exists() and not journal.exists():
        address = f"sqlite:///{database}"
        remedy = f"optuna storage upgrade {argument('--storage', address)}"
        reason = f"{database} is the search of an earlier version; to go on with it, do '{remedy}' and add"
        raise ConfigError("hydra.sweeper.storage", journal, f"{reason} {argument('hydra.sweeper.storage', address)}")


def _check_journal(file: str) -> None:
    """Raise ValueError for a file of another program, or one whose end was lost: Optuna would write behind it."""
    if not Path(file).exists():
        return
    with Path(file).open("rb") as journal:
        first = journal.readline(1_000_000)
        if first and not (first.startswith(b"{") and "op_code" in json.loads(first)):
            raise ValueError("it is a file of another program")
        journal.seek(0 if not first else -1, 2)
        if first and journal.read() != b"\n":
            raise ValueError("its last line is cut off")


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
