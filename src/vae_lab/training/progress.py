"""What a person sees of the time: the bar on a terminal, and the seconds that training took."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Timer, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm


class ProgressBar(TQDMProgressBar):
    """One bar: the epoch of how many, its batches, and the running figure of training, five times a second."""

    seconds = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.next_refresh = 0.0

    def init_validation_tqdm(self) -> Tqdm:
        """No second bar: validation takes a moment."""
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Say which epoch it is of how many."""
        super().on_train_epoch_start(trainer)
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}{of}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refresh by the clock: one call is several batches, and how many a second depends on the model."""
        if time.monotonic() >= self.next_refresh or batch_idx + 1 == self.train_progress_bar.total:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self.next_refresh = time.monotonic() + self.seconds

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        """The running figure, without the logger's version."""
        return {name: value for name, value in super().get_metrics(*args).items() if name != "v_num"}


class Clock(Timer):
    """Seconds of training, and those of validation, which are part of them; a resumed run goes on counting both."""

    def __init__(self) -> None:
        super().__init__()
        self.validation = 0.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add them up: Lightning's clock starts again at each validation."""
        super().on_validation_end(trainer, pl_module)
        self.validation += self.time_elapsed("validate")

    def state_dict(self) -> dict[str, Any]:
        """The seconds so far, for a run that goes on."""
        return super().state_dict() | {"validation": self.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the seconds so far."""
        super().load_state_dict(state_dict)
        self.validation = state_dict["validation"]
