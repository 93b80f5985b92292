"""Loggers whose files are part of every run folder: ``metrics.csv`` and TensorBoard's events."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from torch.utils.tensorboard.summary import hparams

from vae_lab.files.atomic import replace_file
from vae_lab.training.loggers.base import RunLogger, is_of_test


class CSV(Logger):
    """``metrics.csv``: a row for each epoch; each write replaces the whole file, so that it is never half written.

    A run that continues from a checkpoint keeps the rows up to it and writes the later ones again. Lightning's own
    CSVLogger deletes the file in that case, and writes validation and training in separate rows.

    Args:
        save_dir: path of the run folder.
    """

    name = version = ""  # Lightning's own checkpoints lie below the run folder by these names

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "metrics.csv"

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write the row of one epoch; figures without training, as of a test, are no epoch's."""
        if not any(name.startswith("train/") for name in metrics):
            return
        rows: list[dict[str, Any]] = []
        if self.file.exists():
            with self.file.open(newline="") as file:
                rows = [row for row in csv.DictReader(file) if int(row["epoch"]) < (step or 0)]
        rows.append({"epoch": step, **metrics})
        text = io.StringIO()
        names = dict.fromkeys(name for row in rows for name in row)  # an epoch without validation has fewer
        writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        replace_file(self.file, text.getvalue())


class TensorBoard(RunLogger, TensorBoardLogger):
    """TensorBoard events in the run folder itself: scalars by epoch, figures, the config and HPARAMS.

    Args:
        save_dir: path of the run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="", default_hp_metric=False)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the HPARAMS tab gets them with the results."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log the figures by epoch; those of a test, by steps, come with the results."""
        if not is_of_test(metrics):
            super().log_metrics(metrics, step)

    @rank_zero_only
    def save(self) -> None:
        """Flush; the base class adds an empty hparams.yaml, and config.yaml has the settings."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:  # noqa: ARG002
        """Flush; the base class closes the file here, and the test after training would open another one."""
        if self._experiment is not None:
            self.experiment.flush()

    @rank_zero_only
    def close(self, failed: bool = False) -> None:  # noqa: ARG002
        """Close the file, if there is one, and end the thread that writes it."""
        if self._experiment is not None:
            self.experiment.close()

    @rank_zero_only
    def continue_from(self, epoch: int) -> None:
        """Let TensorBoard forget what the run has written of later epochs, which come again."""
        session = SessionLog(status=SessionLog.START)
        self.experiment.file_writer.add_event(Event(step=epoch, session_log=session))

    @rank_zero_only
    def log_config(self, config: str) -> None:
        """Show the resolved config as text."""
        self.experiment.add_text("config", f"```yaml\n{config}```", 0)

    @rank_zero_only
    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], epoch: int) -> None:
        """Show the run in the HPARAMS tab, and close the file."""
        for name, value in results.items():
            self.experiment.add_scalar(name, value, epoch)
        # TensorBoard uses the first run's list of columns, where there is one, for all runs: without that list it
        # collects the columns of all runs, and knows which of them differ
        _, start, end = hparams(dict(settings), {})
        for summary in (start, end):
            self.experiment.file_writer.add_summary(summary)
        self.experiment.close()
