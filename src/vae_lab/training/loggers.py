"""Loggers: where the figures of each epoch go."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from torch.utils.tensorboard.summary import hparams

from vae_lab.files.atomic import replace_file


class CSV(Logger):
    """``metrics.csv``: a row for each epoch; each replaces the whole file, so that it is never half written.

    A run that goes on from a checkpoint keeps the rows up to it and writes the later ones again. Lightning's own
    CSVLogger deletes the file in that case, and writes validation and training in rows of their own.

    Args:
        save_dir: path of the run folder.
    """

    name = "csv"
    version = ""

    def __init__(self, save_dir: str) -> None:
        super().__init__()
        self.file = Path(save_dir) / "metrics.csv"

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: ``config.yaml`` has them."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Write the row of one epoch."""
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


class TensorBoard(TensorBoardLogger):
    """TensorBoard events in the run folder itself: scalars by epoch, figures, the config and HPARAMS.

    Args:
        save_dir: path of the run folder.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir, name="", version="", default_hp_metric=False)

    @rank_zero_only
    def save(self) -> None:
        """Flush; the base class adds an empty hparams.yaml, and config.yaml has the settings."""
        self.experiment.flush()

    @rank_zero_only
    def finalize(self, status: str) -> None:  # noqa: ARG002
        """Flush; the base class closes the file here, and the test after training would open another one."""
        self.experiment.flush()

    @rank_zero_only
    def log_config(self, config: str) -> None:
        """Show the resolved config as text."""
        self.experiment.add_text("config", f"```yaml\n{config}```", 0)

    @rank_zero_only
    def log_results(self, settings: dict[str, Any], results: dict[str, float], epoch: int) -> None:
        """Show the run in the HPARAMS tab, and close the file.

        Args:
            settings: value of each setting of the run.
            results: figures that the run ended with.
            epoch: number of epochs that the run took.
        """
        for name, value in results.items():
            self.experiment.add_scalar(name, value, epoch)
        # TensorBoard uses the first run's list of columns, where there is one, for all runs: without that list it
        # collects the columns of all runs, and knows which of them differ
        _, start, end = hparams(settings, {})
        for summary in (start, end):
            self.experiment.file_writer.add_summary(summary)
        self.experiment.close()
