"""What SIGINT and SIGTERM do to a run: a checkpoint of this moment, and the end."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from vae_lab.errors import Interrupted
from vae_lab.training.module import Training

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption(Callback):
    """Ends training after the step, or the batch of validation, in which a signal came, once that moment is saved.

    Outside training, where the checkpoint of its end is written already, the end comes at once. A second signal
    ends the process as it would without this callback.

    Args:
        training: the module that is trained.
    """

    def __init__(self, training: Training) -> None:
        self.module = training
        self.is_training = False
        self.asked: int | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals inside the block."""
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @property
    def moment(self) -> str:
        """Where the run is, for a person."""
        epochs = len(self.module.model.history)
        if self.is_training:
            return f"in epoch {epochs + 1}"
        return "after training" if epochs else "before training"

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.asked is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.asked, self.module.stop_asked = number, True
        if not self.is_training:
            raise Interrupted(number)

    def on_train_start(self, *_: Any) -> None:
        """From here on there is something to save."""
        self.is_training = True
        # Lightning has installed its own handler by now, and would end the run between two epochs with exit code 0
        signal.signal(signal.SIGTERM, self._hear)

    def on_train_end(self, trainer: Trainer, *_: Any) -> None:
        """The last checkpoint is written; a signal that came meanwhile needs no further one."""
        self.is_training = False
        if self._is_heard(trainer):
            raise Interrupted(self.asked or signal.SIGTERM)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """After some steps."""
        if self._is_heard(trainer):
            self._end(trainer)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:  # noqa: ARG002
        """After a batch of validation; the test after training has no part in this."""
        # several processes, which do not all have as many batches, end after the next steps
        if self.is_training and self.asked is not None and trainer.world_size == 1:
            self._end(trainer)

    def _is_heard(self, trainer: Trainer) -> bool:
        """Whether a signal came to any of several processes: they end together."""
        return trainer.strategy.reduce_boolean_decision(self.asked is not None, all=False)

    def _end(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(f"{trainer.default_root_dir}/checkpoints/last.ckpt")
        raise Interrupted(self.asked or signal.SIGTERM)
