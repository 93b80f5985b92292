"""Loggers: where the figures of each epoch go. ``files`` keeps them in the run folder, ``services`` in other tools."""

from vae_lab.training.loggers.base import RunLogger, close, continue_from, show
from vae_lab.training.loggers.files import CSV, TensorBoard
from vae_lab.training.loggers.services import MLflow, Trackio, WandB

__all__ = ["CSV", "MLflow", "RunLogger", "TensorBoard", "Trackio", "WandB", "close", "continue_from", "show"]
