"""Hydra looks for sweepers in this namespace only. What `sweep=search` does is in vae_lab.sweeps.trials."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Search(Sweeper):
    """Runs whose settings Optuna chooses, by what the runs before them gave.

    Args:
        sampler: Optuna's sampler.
        study_name: name of the study in the storage.
        storage: path of a journal file, or address of a database.
        n_trials: number of runs.
        n_jobs: number of runs that are chosen at once.
        params: values of further keys, as on the command line.
        trial: number of a run in the search; None for the sweep itself.
    """

    def __init__(
        self,
        sampler: Any,
        study_name: str,
        storage: str,
        n_trials: int,
        n_jobs: int,
        params: Mapping[str, str],  # noqa: ARG002  read from the config, with the overrides
        trial: int | None,  # noqa: ARG002  likewise, by the run
    ) -> None:
        self.sampler, self.study_name, self.storage = sampler, study_name, storage
        self.n_trials, self.n_jobs = n_trials, n_jobs

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Make the launcher of the runs."""
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Sequence[JobReturn]:  # noqa: ARG002  the config has them too
        """Run all runs of the search."""
        from vae_lab.sweeps import trials  # late: it imports optuna

        return trials.run_all(self)
