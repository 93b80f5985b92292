"""What a run tells its loggers, beside the figures of each epoch."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger


class RunLogger:
    """What a logger of a whole run can do beside Lightning's ``Logger``; nothing, unless a class says more."""

    def log_config(self, config: str) -> None:
        """Keep the resolved config as text.

        Args:
            config: content of ``config.yaml``.
        """

    def log_results(self, settings: Mapping[str, Any], results: Mapping[str, float], epoch: int) -> None:
        """Keep the figures that a run ended with.

        Args:
            settings: value of each setting of the run.
            results: figures that the run ended with.
            epoch: number of epochs that the run took.
        """

    def continue_from(self, epoch: int) -> None:
        """Prepare for epochs that come again, after a checkpoint that is older than what was logged.

        Args:
            epoch: epoch that the run continues with, the first being 0.
        """

    def close(self, failed: bool) -> None:
        """Close what is open.

        Args:
            failed: whether the run ended before its end.
        """


def close(loggers: Iterable[Any], failed: bool = False) -> None:
    """Close what loggers keep open, however a run ended.

    Args:
        loggers: loggers of a Trainer.
        failed: whether the run ended before its end.
    """
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.close(failed)


def continue_from(loggers: Iterable[Any], epoch: int) -> None:
    """Prepare loggers for epochs that come again, after a checkpoint that is older than what was logged.

    Args:
        loggers: loggers of a Trainer.
        epoch: epoch that the run continues with, the first being 0.
    """
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.continue_from(epoch)


def show(loggers: Iterable[Logger], name: str, picture: np.ndarray, epoch: int) -> None:
    """Give a picture to every logger that can take one: TensorBoard, MLflow, and all that have a ``log_image``.

    Args:
        loggers: loggers of a Trainer.
        name: name of the picture, the same in each epoch.
        picture: pixels, (height, width, 3), uint8.
        epoch: number of epochs that the run has taken.
    """
    for logger in loggers:
        log_image = getattr(logger, "log_image", None)  # as Lightning's loggers of W&B and Comet have it
        if log_image is not None:
            log_image(key=name, images=[picture], step=epoch)
        elif isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, epoch, dataformats="HWC")
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, picture, key=name, step=epoch)


def is_of_test(metrics: Mapping[str, float]) -> bool:
    """Whether figures are those of a test, which count steps; they come with the results, by epoch."""
    return any(name.startswith("test/") for name in metrics)
