"""A search with Optuna ends runs early that will not be the best."""

from typing import Annotated, Any

from hydra.core.hydra_config import HydraConfig
from lightning import Callback, LightningModule, Trainer
from pydantic import Field

from vae_lab.errors import ConfigError

Count = Annotated[int, Field(ge=0)]


class Pruning(Callback):
    """Ends a run of a search whose validation NELBO is above the median of the other runs' at the same epoch.

    The run is tested and reported like any other. Source: Golovin et al., Google Vizier (2017), the median rule.

    Args:
        after_runs: no run ends early before so many have come to their end.
        after_epochs: nor in its first so many epochs.
    """

    def __init__(self, after_runs: Count = 5, after_epochs: Count = 5) -> None:
        self.after_runs, self.after_epochs = after_runs, after_epochs
        self.trial: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Find this run in the search.

        Raises:
            ConfigError: if there is no search that it is part of.
        """
        import optuna  # late: a run folder is read where it is not installed, too

        hydra = HydraConfig.get()
        if "study_name" not in hydra.sweeper:
            raise ConfigError("callbacks.pruning", "Pruning", "belongs to a search; use sweep=search")
        study = optuna.load_study(
            study_name=hydra.sweeper.study_name,
            storage=hydra.sweeper.storage,
            pruner=optuna.pruners.MedianPruner(self.after_runs, self.after_epochs),
        )
        overrides = set(hydra.overrides.task)
        for trial in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
            # the sweeper writes them in just this way
            if {f"{name}={value}" for name, value in trial.params.items()} <= overrides:
                self.trial = optuna.trial.Trial(study, trial._trial_id)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Report the epoch's figure; the run ends after this epoch if it is behind."""
        if self.trial is not None:
            self.trial.report(trainer.callback_metrics["val/nelbo"].item(), trainer.current_epoch)
            # a plain bool, since checkpoints hold no numpy
            trainer.should_stop = trainer.should_stop or bool(self.trial.should_prune())
