"""A LightningModule that validates and tests a model: the same figures, with the same noise, whatever trains it."""

import warnings

from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vae_lab.errors import NonFiniteError
from vae_lab.randomness import fixed_noise
from vae_lab.training.inputs import Batch, Inputs
from vae_lab.training.model_module import ModelModule
from vae_lab.training.sums import RunningSums, not_finite, prefixed


class EvaluatedModule(ModelModule):
    """Validation and test of a model: means over images of what it measures of each."""

    inputs: Inputs

    def begin_evaluation(self) -> None:
        """Forget the figures of an earlier call of a trainer."""
        self.eval_sums = RunningSums()
        self.measured: dict[str, float] = {}  # what a callback measures of a whole set, before the end of its epoch
        self.validated: dict[str, float] = {}  # figures of this epoch's validation

    def read_training(self) -> None:
        """Check the figures of the training steps before a validation, where there are such steps."""

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        self._measure(self.inputs.take(batch, "validation"), batch_idx)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        self._measure(self.inputs.take(batch, "test"), batch_idx)

    def _measure(self, x: Tensor, batch_idx: int) -> None:
        with fixed_noise(batch_idx, self.device):
            self.eval_sums.add(self.model.measure(x) | self.inputs.trace(x))

    def on_validation_epoch_end(self) -> None:
        """Give the validation figures to callbacks; the loggers get them with the epoch's row."""
        self.read_training()  # the step that broke the model is named, and not its effect on validation
        figures = self._log_evaluation("val")
        if not self.trainer.sanity_checking:  # those of the untrained model are no epoch's
            self.validated = figures

    def on_test_epoch_end(self) -> None:
        """Give the test figures to callbacks."""
        self._log_evaluation("test")

    def _log_evaluation(self, prefix: str) -> dict[str, float]:
        means = self.eval_sums.means(self._reduce) | self.measured
        self.eval_sums, self.measured = RunningSums(), {}
        if reason := not_finite(means, self.model.criterion, "a lower optimizer.lr"):
            raise NonFiniteError(f"{prefix}: {reason}")
        figures = prefixed(prefix, means)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*no logger configured.*")
            # in training the loggers get them with the epoch's row; elsewhere the Trainer returns what is logged
            self.log_dict(figures, logger=self.trainer.state.fn != TrainerFn.FITTING)
        return figures

    def _reduce(self, totals: Tensor) -> Tensor:
        # Apple's devices have no double precision, and never more than one process
        device = "cpu" if self.device.type == "mps" else self.device
        reduced = self.trainer.strategy.reduce(totals.to(device), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced
