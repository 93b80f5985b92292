"""Ends runs of a search early that will not be the best."""

from typing import Any

from hydra.core.hydra_config import HydraConfig
from lightning import Callback, LightningModule, Trainer

from vae_lab.annotations import Epochs, Runs
from vae_lab.errors import ConfigError


class Pruning(Callback):
    """Ends a run of a search whose criterion is above the median of the other runs at the same epoch.

    The criterion is the one of the validation images, for most models the NELBO. The run is tested and reported like
    any other. Source: Golovin et al., Google Vizier (2017), https://doi.org/10.1145/3097983.3098043, the median rule.

    Args:
        after_runs: number of runs that finish before any ends early.
        after_epochs: number of first epochs in which no run ends early.
    """

    def __init__(self, after_runs: Runs = 5, after_epochs: Epochs = 5) -> None:
        self.after_runs, self.after_epochs = after_runs, after_epochs
        self.trial: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Find this run in the search.

        Raises:
            ConfigError: if the run is not part of a search.
        """
        sweeper = HydraConfig.get().sweeper
        if sweeper.get("trial") is None:
            raise ConfigError("callbacks.pruning", "Pruning", "belongs to a search; use sweep=search")
        import optuna  # late: a run folder can be read where it is not installed

        from vae_lab.sweeps.storage import storage_of

        storage = storage_of(sweeper.storage)
        pruner = optuna.pruners.MedianPruner(self.after_runs, self.after_epochs)
        study = optuna.load_study(study_name=sweeper.study_name, storage=storage, pruner=pruner)
        study_id = storage.get_study_id_from_name(sweeper.study_name)
        trial_id = storage.get_trial_id_from_study_id_trial_number(study_id, sweeper.trial)
        # the only way to a trial that another process started: a study gives only new ones and copies
        self.trial = optuna.trial.Trial(study, trial_id)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the criterion after an epoch; the run ends after this epoch if it is behind."""
        if self.trial is not None:
            criterion = pl_module.model.criterion  # type: ignore[union-attr]  # of vae_lab.training.module.Training
            value = trainer.callback_metrics.get(f"val/{criterion}")
            if value is None:  # it is not measured in every epoch
                return
            self.trial.report(value.item(), trainer.current_epoch)
            # a plain bool, since checkpoints hold no values of numpy
            trainer.should_stop = trainer.should_stop or bool(self.trial.should_prune())
