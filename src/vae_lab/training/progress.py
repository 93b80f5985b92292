"""Progress and time: the bar on a terminal, a line an epoch elsewhere, and the seconds that training took."""

import logging
import math
import sys
import time
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

from vae_lab.evaluation.progress import duration
from vae_lab.figures.quantities import quantity_of
from vae_lab.training.module import Training

log = logging.getLogger(__name__)


def in_notebook() -> bool:
    """Whether this is the kernel of a notebook, which draws a bar though its output is no terminal."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class ProgressBar(TQDMProgressBar):
    """One bar: the epoch, its batches, and the running criterion of training, refreshed five times a second."""

    seconds = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.next_refresh = 0.0

    def init_validation_tqdm(self) -> Tqdm:
        """No second bar: validation takes a moment."""
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Show the epoch and the number of epochs."""
        super().on_train_epoch_start(trainer)
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}{of}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refresh by the clock: a call takes several batches, and their number per second depends on the model."""
        if time.monotonic() >= self.next_refresh or batch_idx + 1 == self.train_progress_bar.total:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self.next_refresh = time.monotonic() + self.seconds

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        """The running criterion, without the logger's version."""
        return {name: value for name, value in super().get_metrics(*args).items() if name != "v_num"}


class EpochLines(Callback):
    """Logs a line an epoch: epoch, criterion, seconds, time left. It is for output that is not a terminal."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the clock; the epochs before a resume are not logged again."""
        assert isinstance(pl_module, Training)
        self.logged = len(pl_module.model.history)
        self.started = self.last = time.monotonic()
        self.done = 0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch before: the model's history gets an epoch after the callbacks have run."""
        self._log(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the last epoch."""
        self._log(trainer, pl_module)

    def _log(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Training)
        model, now = pl_module.model, time.monotonic()
        if len(model.history) == self.logged:
            return
        self.logged, self.done = len(model.history), self.done + 1
        row, name = model.history[-1], model.criterion
        words, measured = quantity_of(name).name, (("val", "validation"), ("train", "training"))
        found = [f"{split} {words} {row[f'{kind}/{name}']:.2f}" for kind, split in measured if f"{kind}/{name}" in row]
        value = found[0] if found else f"{words} not measured"
        epochs = math.ceil(steps_of(trainer) / trainer.num_training_batches)
        left = max(0, epochs - self.logged) * (now - self.started) / self.done
        clock = next((callback for callback in trainer.callbacks if isinstance(callback, Clock)), None)  # type: ignore[attr-defined]
        longest = clock.time_remaining() if clock else None
        left = left if longest is None else max(0.0, min(left, longest))
        log.info("epoch %d/%d  %s  %s  %s left", self.logged, epochs, value, duration(now - self.last), duration(left))
        self.last = now


def steps_of(trainer: Trainer) -> int:
    """Number of optimiser steps of a training that nothing ends early."""
    epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else math.inf
    steps = trainer.max_steps if trainer.max_steps > 0 else math.inf
    return int(min(epochs * trainer.num_training_batches, steps))


class Clock(Timer):
    """Seconds of training, and those of validation, which are part of them; a resumed run continues both.

    Args:
        max_time: time after which training ends, days:hours:minutes:seconds or timedelta's arguments; None for no end.
    """

    def __init__(self, max_time: str | dict[str, int] | None = None) -> None:
        super().__init__(max_time, verbose=False)
        self.validation = 0.0

    @property
    def limit(self) -> float | None:
        """Seconds after which training ends, or None."""
        return self._duration

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add them up: Lightning's clock starts again at each validation."""
        super().on_validation_end(trainer, pl_module)
        self.validation += self.time_elapsed("validate")

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far, for a resumed run."""
        return super().state_dict() | {"validation": self.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the seconds so far."""
        super().load_state_dict(state_dict)
        self.validation = state_dict["validation"]
