"""Signals end a run, with a checkpoint of that moment."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from vae_lab.errors import Interrupted
from vae_lab.training.module import Training

BY_HAND = (signal.SIGINT, signal.SIGTERM)
# a closed terminal, and the warnings of a cluster
OTHERS = tuple(getattr(signal, name) for name in ("SIGHUP", "SIGUSR1", "SIGUSR2") if hasattr(signal, name))


def heard() -> tuple[int, ...]:
    """The signals that end a run here: nohup has SIGHUP ignored, and submitit answers SIGUSR2 itself.

    Only the main thread of a process can answer signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return ()
    return (*BY_HAND, *(number for number in OTHERS if signal.getsignal(number) == signal.SIG_DFL))


class Interruption(Callback):
    """Ends training after the step, or the batch of validation, in which a signal came, with a checkpoint.

    Outside training there is nothing to save, and the run ends at once. A second SIGINT or SIGTERM ends the process as
    it would without this callback; the others may come twice, as from a terminal and its shell.

    Args:
        training: module that is trained.
    """

    def __init__(self, training: Training) -> None:
        self.module = training
        self.is_training = False
        self.asked: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle the signals inside the block."""
        before = {number: signal.signal(number, self._hear) for number in heard()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def moment(self) -> str:
        """Where the run is, in words."""
        epochs = len(self.module.model.history)
        if self.is_training:
            return f"in epoch {epochs + 1}"
        return "after training" if epochs else "before training"

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked in BY_HAND and number in BY_HAND:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if self.asked is not None and number not in BY_HAND:
            return
        self.asked, self.module.stop_asked = number, True
        if not self.is_training:
            raise Interrupted(number)

    def on_train_start(self, *_: Any) -> None:
        """From here on there is something to save."""
        self.is_training = True
        # Lightning has installed its own handler by now, and would end the run between two epochs with exit code 0
        if signal.SIGTERM in heard():
            signal.signal(signal.SIGTERM, self._hear)

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        """The last checkpoint is written; a signal that came meanwhile needs no other."""
        self.is_training = False
        if self._is_heard(trainer):
            raise Interrupted(self.asked or signal.SIGTERM)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """End after the steps of a call in which a signal came."""
        if self._is_heard(trainer):
            self._end(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """End after a batch of validation in which a signal came, but not in the test after training."""
        # several processes may have different numbers of batches, and end after the next steps
        if self.is_training and self.asked is not None and trainer.world_size == 1:
            self._end(trainer)

    def _is_heard(self, trainer: Trainer) -> bool:
        """Whether a signal came to any of several processes: they end together."""
        return trainer.strategy.reduce_boolean_decision(self.asked is not None, all=False)

    def _end(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(f"{trainer.default_root_dir}/checkpoints/last.ckpt")
        raise Interrupted(self.asked or signal.SIGTERM)
