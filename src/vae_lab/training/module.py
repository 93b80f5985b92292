"""The one LightningModule: it trains a model with a loss."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.errors import NonFiniteError
from vae_lab.losses import Loss, Stage
from vae_lab.models import Model
from vae_lab.training.demands import is_followed
from vae_lab.training.evaluated_module import EvaluatedModule
from vae_lab.training.graphs import CapturedSteps, Graphs, begin
from vae_lab.training.inputs import Batch, Inputs
from vae_lab.training.loggers import continue_from
from vae_lab.training.moment import check_optimizers, moment_of, restore_random, skip, taken, to_start_of_epoch
from vae_lab.training.noise import ignore_noise
from vae_lab.training.schedulers import end_of_epoch, end_of_step, make_schedule
from vae_lab.training.steps import all_stages, count_last_only, is_quick, listed, plain_step, quick_step
from vae_lab.training.sums import RunningSums, not_finite, prefixed, remedy_of

ignore_noise()  # also for a Trainer that was made by hand


class Training(EvaluatedModule):
    """Trains a model with a loss, in any Lightning ``Trainer``.

    Args:
        model: model that is trained.
        loss: loss that training minimises.
        optimizer: function that makes an optimiser from parameters; None is Adam with learning rate 1e-3.
        scheduler: function of ``(optimizer, total_steps=…)`` that makes a learning-rate schedule by step, or of
            ``(optimizer)`` for one by epoch (``schedulers.py`` has the rule); None leaves the rate as it is.
        gradient_clip_val: largest norm of the gradient; None leaves it as it is.
        ema: decay, below 1, of an exponential moving average of the weights, with which the model is validated, tested
            and saved; 0 for none.
        graphs: whether several steps at once are captured as a graph of a GPU; auto where they can be, and their
            figures are those of plain steps.

    Raises:
        ValueError: if the loss has parameters of its own, which nothing would train.
        NoClosedFormError: if the loss needs a closed-form KL that this posterior and prior do not have.

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

    steps_at_once = 16  # steps in one call of training_step: the trainer's work around them is done once for all
    read_every_n_steps = 50  # after the call with that step, training sums are fetched, checked and shown
    weight: Tensor

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: Callable[..., Optimizer] | None = None,
        scheduler: Callable[..., LRScheduler] | None = None,
        gradient_clip_val: float | None = None,
        ema: float = 0.0,
        graphs: Graphs = "auto",
    ) -> None:
        super().__init__()
        loss.check(model)
        if next(loss.parameters(), None) is not None:
            raise ValueError("nothing would train the parameters of a loss: give them to the model")
        self.automatic_optimization = False  # training_step makes the optimiser's steps
        self.model, self.loss = model, loss
        self.make_optimizer, self.make_scheduler = optimizer or Adam, scheduler
        self.gradient_clip_val, self.ema, self.graphs = gradient_clip_val, ema, graphs
        self.captured: CapturedSteps | None = None
        # a stage with several steps is there several times
        self.stages = [stage.name for stage in loss.stages(model) for _ in range(stage.steps)]
        # a tensor, so that a compiled loss and a captured graph see the weight change
        self.register_buffer("weight", torch.ones(()), persistent=False)
        self._begin()

    def _begin(self, data: Any = None) -> None:
        """Forget an earlier call of a trainer, which may have ended early."""
        self.inputs = Inputs(self.model, data)
        self.one_at_a_time = False  # one step in each call of training_step: something follows every batch
        self.captured = None  # what takes the steps where they are captured as graphs
        self.train_sums = RunningSums()
        self.begin_evaluation()
        self.latest: dict[str, float] = {}  # figures of the latest validation that has the criterion
        self.is_first_validated = False  # whether this epoch is the first whose validation has it
        self.stop_asked = False  # make no further step: a signal came
        self.average = None
        self.resumed: dict[str, Any] | None = None  # the moment of the checkpoint that training continues from

    def setup(self, stage: str) -> None:
        """Begin a fit, a validation or a test."""
        self._begin(getattr(self.trainer, "datamodule", None))
        self.one_at_a_time = stage == "fit" and is_followed(self.trainer)

    def configure_optimizers(self) -> Any:
        """An optimiser for each stage, with its schedule."""
        return [self._optimizer_of(stage) for stage in self.loss.stages(self.model)]

    def _optimizer_of(self, stage: Stage) -> dict[str, Any]:
        optimizer = self.make_optimizer(stage.parameters)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * stage.lr
        if self.make_scheduler is None:
            return {"optimizer": optimizer}
        steps = self.trainer.estimated_stepping_batches
        return {"optimizer": optimizer, "lr_scheduler": make_schedule(self.make_scheduler, optimizer, steps)}

    # --- training ------------------------------------------------------------------------------------

    @property
    def training_step(self) -> Callable[..., Tensor | None]:
        """What Lightning calls: several steps at once, or one where something has to hear of each."""
        return self._one_step if self.one_at_a_time else self._several_steps

    def _several_steps(self, dataloader_iter: Iterator[tuple[Batch, int, int]]) -> None:
        """Some optimiser steps in one call."""
        if self.resumed:
            skip(self.resumed, dataloader_iter)
            self._return_to(self.resumed)
        take = self._step_taker()
        batches = itertools.islice(dataloader_iter, self._steps_to_take())
        if self.captured:
            self.captured.take(batches, take)
        else:
            for batch, batch_idx, _ in batches:
                take(batch, batch_idx)
                if self.stop_asked and self.trainer.world_size == 1:  # several processes make equal steps
                    break
        self._after_steps()

    def _one_step(self, batch: Batch, batch_idx: int) -> Tensor | None:
        """One optimiser step, or none while a resumed epoch comes to the batch where it was left; gives its loss."""
        if self.resumed:
            left = taken(self.resumed) - batch_idx
            if left <= 1:  # before the next batch is drawn
                self._return_to(self.resumed)
            if left > 0:
                return None
        loss = self._step_taker()(batch, batch_idx)
        self._after_steps()
        return loss

    def _step_taker(self) -> Callable[[Batch, int], Tensor]:
        """The function that makes one step with a batch; what it needs is looked up once for all steps of a call."""
        optimizers, schedules = listed(self.optimizers()), self.schedules("step")
        count_last_only(optimizers)
        of_stage = dict(zip(dict.fromkeys(self.stages), optimizers, strict=True))
        take_step = quick_step if is_quick(self.trainer) else plain_step
        epoch, batches = self.trainer.current_epoch, self.trainer.num_training_batches

        def take(batch: Batch, batch_idx: int) -> Tensor:
            x = self.inputs.take(batch, "training")
            weight = self.weight.fill_(self.loss.weight(epoch + batch_idx / batches))
            loss, figures = all_stages(self, x, weight, lambda stage, loss: take_step(self, of_stage[stage], loss))
            if self.average:
                self.average.update()
            for schedule in schedules:
                end_of_step(schedule)
            self.train_sums.add(figures | self.inputs.trace(x))
            return loss

        return take

    def _after_steps(self) -> None:
        if len(self.train_sums.pending) >= self.read_every_n_steps:
            self.read_training()
            self._show_progress()
        if self.trainer.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True  # else an epoch that ends here would not be validated

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clip the gradient, after the precision has unscaled it."""
        if self.gradient_clip_val is not None:
            self.clip_gradients(optimizer, self.gradient_clip_val)

    def on_train_start(self) -> None:
        """Begin the average of the weights, and to capture steps; stop at once if the checkpoint's run was about to."""
        self.begin_average(self.ema, self.resumed)
        if self.resumed:
            check_optimizers(self.trainer.optimizers)
            self.trainer.should_stop = self.resumed["should_stop"]
            continue_from(self.loggers, self.trainer.current_epoch)
        self.captured = begin(self, self.graphs)

    def on_train_epoch_start(self) -> None:
        """Restore the random state where no batch is skipped, before the first one is drawn."""
        if self.resumed and self.one_at_a_time and not taken(self.resumed):
            self._return_to(self.resumed)

    def on_train_epoch_end(self) -> None:
        """One row of figures for the epoch, to the history, the callbacks and the loggers.

        The model's criterion without a prefix is that of the latest validation, or of training where there was none;
        runs are chosen by it.
        """
        self.read_training()
        train = prefixed("train", self.train_sums.means(self._reduce))
        self.train_sums = RunningSums()
        val, self.validated = self.validated, {}
        row, name = {**train, **val}, self.model.criterion
        is_chosen_by = f"val/{name}" in val
        self.is_first_validated, self.latest = is_chosen_by and not self.latest, val if is_chosen_by else self.latest
        chosen = self.latest.get(f"val/{name}", row.get(f"train/{name}"))
        if chosen is None:
            raise ValueError(f"runs are chosen by {name}, which nothing measures; there are {', '.join(sorted(row))}")
        self.log_dict({**train, name: chosen, "criterion": chosen}, logger=False, batch_size=1)
        row["lr"] = self.trainer.optimizers[-1].param_groups[0]["lr"]
        self.model.history.append({"epoch": self.trainer.current_epoch, **row})
        for schedule in self.schedules("epoch"):
            end_of_epoch(schedule, chosen)
        figures = {name: value for name, value in row.items() if not name.endswith("/n")}
        for logger in self.loggers:
            logger.log_metrics(figures, step=self.trainer.current_epoch)

    def schedules(self, interval: str) -> list[LRScheduler]:
        """The schedules that move on after each ``step`` or each ``epoch``."""
        return [of.scheduler for of in self.trainer.lr_scheduler_configs if of.interval == interval]

    def _steps_to_take(self) -> int:
        steps = self.trainer.max_steps
        return self.steps_at_once if steps < 0 else min(self.steps_at_once, steps - self.trainer.global_step)

    def _show_progress(self) -> None:
        name = self.model.criterion
        if name in self.train_sums.totals:
            # a CPU tensor: Lightning reads it after each call, and would move a plain number to the GPU
            mean = torch.tensor(self.train_sums.totals[name] / self.train_sums.images)
            self.log(name, mean, prog_bar=True, logger=False, batch_size=1)

    def read_training(self) -> None:
        """Fetch the figures of the steps since the last call, and stop at one that is not finite."""
        before, remedy = self.train_sums.steps, remedy_of(self.trainer.precision, hasattr(self.loss, "warmup_epochs"))
        for step, figures in enumerate(self.train_sums.read(), start=before):
            if reason := not_finite(figures, self.model.criterion, remedy):
                where = f"training stopped in epoch {self.trainer.current_epoch}, step {step}"
                raise NonFiniteError(f"{where}: {reason}")

    # --- checkpoints ---------------------------------------------------------------------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to save a model whose loss is not finite; add everything that the next step depends on."""
        self.read_training()
        checkpoint["history"] = self.model.history
        # one that is not returned to yet is still the moment to resume from
        checkpoint["moment"] = self.resumed or moment_of(self.train_sums, self.trainer.should_stop, self.device)
        if self.average:
            self.average.save(checkpoint)
        to_start_of_epoch(checkpoint["loops"]["fit_loop"])

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the history, and continue from the moment of the checkpoint."""
        self.model.history = checkpoint["history"]
        name = f"val/{self.model.criterion}"
        self.latest = next((row for row in reversed(self.model.history) if name in row), {})
        self.resumed = checkpoint["moment"]

    def _return_to(self, moment: dict[str, Any]) -> None:
        self.train_sums.load_state_dict(moment["terms"])
        self.resumed = None
        if self.trainer.is_global_zero:  # the state is that of the first process, and each draws its own noise
            restore_random(moment, self.device)
