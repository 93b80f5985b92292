"""The one LightningModule: it trains a model by a loss."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.errors import NonFiniteError
from vae_lab.losses import Loss
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.training.moment import check_optimizers, moment_of, restore_random, return_to, to_start_of_epoch
from vae_lab.training.steps import count_last_only, is_quick, plain_step, quick_step
from vae_lab.training.sums import RunningSums

Batch = Tensor | Sequence[Tensor]


class Training(LightningModule):
    """Trains a model by a loss with any Lightning ``Trainer``.

    Args:
        model: the model that learns.
        loss: what its training minimises.
        optimizer: makes an optimiser from parameters; Adam at 1e-3 where none is given.
        scheduler: makes a learning-rate schedule by step from ``(optimizer, total_steps=…)``.
        gradient_clip_val: largest norm of the gradient; None leaves it as it is.

    Raises:
        ValueError: if the loss has parameters of its own, which nothing would train.
        NoClosedFormError: if the loss wants a closed-form KL that this posterior and prior do not have.

    >>> from vae_lab.decoders import MLPDecoder
    >>> from vae_lab.encoders import MLPEncoder
    >>> from vae_lab.likelihoods import Bernoulli
    >>> from vae_lab.losses import KL
    >>> from vae_lab.models import VAE
    >>> from vae_lab.priors import StandardNormal
    >>> shape = (1, 28, 28)
    >>> model = VAE(MLPEncoder(2, [32], shape), MLPDecoder(2, [32], Bernoulli(), shape), StandardNormal(2))
    >>> Trainer(max_epochs=5).fit(Training(model, KL()), loader)  # doctest: +SKIP
    """

    steps_at_once = 16  # steps in one call of training_step: what the trainer does around it is done once for all
    read_every_n_steps = 50  # after so many, with the next call, training sums are fetched, checked and shown

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        gradient_clip_val: float | None = None,
    ) -> None:
        super().__init__()
        loss.check(model)
        if next(loss.parameters(), None) is not None:
            raise ValueError("nothing would train the parameters of a loss: give them to the model")
        self.automatic_optimization = False  # training_step makes the optimiser's steps
        self.model, self.loss = model, loss
        self.make_optimizer, self.make_scheduler = optimizer or Adam, scheduler
        self.gradient_clip_val = gradient_clip_val
        self.stages = [stage.name for stage in loss.stages(model)]
        self.train_sums, self.eval_sums = RunningSums(), RunningSums()
        self.validated: dict[str, float] = {}  # figures of this epoch's validation
        self.stop_asked = False  # make no further step: a signal came
        self.resumed: dict[str, Any] | None = None  # the moment of the checkpoint that training goes on from

    def configure_optimizers(self) -> Any:
        """An optimiser for each stage, with its schedule stepped at each of its steps."""
        return [self._optimizer_of(stage.parameters) for stage in self.loss.stages(self.model)]

    def _optimizer_of(self, parameters: list[torch.nn.Parameter]) -> dict[str, Any]:
        optimizer = self.make_optimizer(parameters)
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        schedule = self.make_scheduler(optimizer, total_steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    # --- training ------------------------------------------------------------------------------------

    def training_step(self, dataloader_iter: Iterator[tuple[Batch, int, int]]) -> None:
        """Some optimiser steps in one call."""
        optimizers, schedules = _listed(self.optimizers()), _listed(self.lr_schedulers())
        count_last_only(optimizers)
        if self.resumed:
            self._return_to(self.resumed, dataloader_iter)
        take_step = quick_step if is_quick(self.trainer) else plain_step
        epoch, batches = self.trainer.current_epoch, self.trainer.num_training_batches
        for batch, batch_idx, _ in itertools.islice(dataloader_iter, self._steps_to_take()):
            x, weight = self.model.cast(_images(batch)), self.loss.weight(epoch + batch_idx / batches)
            figures: dict[str, Tensor] = {}
            for stage, optimizer in zip(self.stages, optimizers, strict=True):
                outcome = self.loss(self.model, x, weight, stage)
                take_step(self, optimizer, outcome.loss)
                figures |= outcome.figures
            for schedule in schedules:
                schedule.step()
            self.train_sums.add(figures)
            if self.stop_asked and self.trainer.world_size == 1:  # several processes make equal steps
                break
        if len(self.train_sums.pending) >= self.read_every_n_steps:
            self._read_training()
            self._show_progress()
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True  # else an epoch that ends here would not be validated

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient, after the precision has unscaled it."""
        if self.gradient_clip_val is not None:
            self.clip_gradients(optimizer, self.gradient_clip_val)

    def on_train_start(self) -> None:
        """Do not train on where the checkpoint's run had been told to stop."""
        if self.resumed:
            check_optimizers(self.trainer.optimizers)
            self.trainer.should_stop = self.resumed["should_stop"]

    def on_train_epoch_end(self) -> None:
        """One row of figures for the epoch, to the history, the callbacks and the loggers.

        Under its own name the model's criterion is that of validation, or of training where nothing is held out: runs
        are chosen by it.
        """
        self._read_training()
        train = _prefixed("train", self.train_sums.means(self._reduce))
        self.train_sums = RunningSums()
        val, self.validated = self.validated, {}
        name = self.model.criterion
        chosen = val[f"val/{name}"] if f"val/{name}" in val else train[f"train/{name}"]
        self.log_dict({**train, name: chosen, "criterion": chosen}, logger=False, batch_size=1)
        row = {**train, **val, "lr": self.trainer.optimizers[0].param_groups[0]["lr"]}
        self.model.history.append({"epoch": self.trainer.current_epoch, **row})
        figures = {name: value for name, value in row.items() if not name.endswith("/n")}
        for logger in self.loggers:
            logger.log_metrics(figures, step=self.trainer.current_epoch)

    def _steps_to_take(self) -> int:
        steps = self.trainer.max_steps
        return self.steps_at_once if steps < 0 else min(self.steps_at_once, steps - self.trainer.global_step)

    def _show_progress(self) -> None:
        name = self.model.criterion
        if name in self.train_sums.totals:
            # a tensor of the CPU, since Lightning reads what it logs after each call: a number would go to the GPU
            mean = torch.tensor(self.train_sums.totals[name] / self.train_sums.images)
            self.log(name, mean, prog_bar=True, logger=False, batch_size=1)

    def _read_training(self) -> None:
        before = self.train_sums.steps
        for step, figures in enumerate(self.train_sums.read(), start=before):
            if broken := self._not_finite(figures):
                raise NonFiniteError(
                    f"training stopped in epoch {self.trainer.current_epoch}, step {step}: "
                    f"{broken} was not finite. Try a lower optimizer.lr, "
                    "trainer.gradient_clip_val=100 or loss.warmup_epochs=5"
                )

    def _not_finite(self, figures: dict[str, float]) -> str:
        """Names of figures that are not finite; the criterion only where it alone is: it is made of the others."""
        broken = [name for name in reversed(figures) if not math.isfinite(figures[name])]
        return " and ".join([name for name in broken if name != self.model.criterion] or broken)

    # --- validation and test -------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        with fixed_noise(batch_idx, self.device):
            self.eval_sums.add(self.model.measure(self.model.cast(_images(batch))))

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the sums, with the same noise each time."""
        self.validation_step(batch, batch_idx)

    def on_validation_epoch_end(self) -> None:
        """Give the validation figures to callbacks; they reach the loggers with the epoch's others."""
        self._read_training()  # a step that broke the model is named before what came of it
        self.validated = self._log_evaluation("val")

    def on_test_epoch_end(self) -> None:
        """Give the test figures to callbacks."""
        self._log_evaluation("test")

    def _log_evaluation(self, prefix: str) -> dict[str, float]:
        means = self.eval_sums.means(self._reduce)
        self.eval_sums = RunningSums()
        if broken := self._not_finite(means):
            raise NonFiniteError(f"{prefix}: {broken} was not finite. Try a lower optimizer.lr")
        figures = _prefixed(prefix, means)
        self.log_dict(figures, logger=False)
        return figures

    def _reduce(self, totals: Tensor) -> Tensor:
        # Apple's devices have no double precision, and never more than one process
        device = "cpu" if self.device.type == "mps" else self.device
        reduced = self.trainer.strategy.reduce(totals.to(device), reduce_op="sum")
        assert isinstance(reduced, Tensor)
        return reduced

    # --- checkpoints ---------------------------------------------------------------------------------

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]  # torch overloads it
        """The weights of the model, under the model's own names: a checkpoint is one of the model."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Load weights into the model."""
        return self.model.load_state_dict(*args, **kwargs)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save a model whose loss is not finite; keep with the rest all that the next step depends on."""
        self._read_training()
        checkpoint["history"] = self.model.history
        checkpoint["moment"] = moment_of(self.train_sums, self.trainer.should_stop, self.device)
        to_start_of_epoch(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take the history over, and go on from the moment of the checkpoint."""
        self.model.history = checkpoint["history"]
        self.resumed = checkpoint["moment"]

    def _return_to(self, moment: dict[str, Any], batches: Iterator[Any]) -> None:
        return_to(moment, self.train_sums, batches)
        self.resumed = None
        if self.trainer.is_global_zero:  # the state is that of the first process, and each draws its own noise
            restore_random(moment, self.device)


def _listed(found: Any) -> list[Any]:
    """Lightning gives None, one object or a list."""
    return found if isinstance(found, list) else [] if found is None else [found]


def _images(batch: Batch) -> Tensor:
    """The images of a batch that may carry labels beside them."""
    return batch if isinstance(batch, Tensor) else batch[0]


def _prefixed(prefix: str, figures: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in figures.items()}
