"""A run from a Python call: the command line's own way, without what belongs to a terminal."""

import contextlib
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vae_lab import cli  # it also registers the resolvers of conf/
from vae_lab.api.trained_run import TrainedRun
from vae_lab.api.words import Setting, words_of
from vae_lab.arguments import prepared
from vae_lab.complaints import complaint
from vae_lab.config.trust import packages_of
from vae_lab.errors import UserError
from vae_lab.paths import CONF
from vae_lab.sweeps.callback import INTERRUPTED

LIBRARIES = ("lightning", "lightning.pytorch", "lightning.fabric")  # loggers that a run changes


def train(*overrides: str, **settings: Setting) -> TrainedRun:
    """Train a model, test its best epoch and draw its figures, as ``python -m vae_lab`` does; returns the run.

    >>> run = vae_lab.train(prior="mixture", loss="sgvb", latent_dim=2, max_epochs=5)    # doctest: +SKIP
    >>> run = vae_lab.train("callbacks.latent_grid.n=10", "optimizer.lr=0.003", seed=1)  # doctest: +SKIP

    Args:
        overrides: words of the command line, which say everything: ``"trainer.max_epochs=5"``, ``"resume=last"``.
        settings: the same as keywords: a part (``prior="vamp"``), a key at the top (``latent_dim=2``), or the last name
            of a key that no other key has (``max_epochs=5`` of ``trainer.max_epochs``, ``batch_size``, ``lr``). Each is
            checked against the config.

    Returns:
        The run: its model, figures by epoch, and pictures. The folder is below ``outputs/runs``, or that of the word
        ``"hydra.run.dir=FOLDER"``.

    Raises:
        UserError: for a mistake in the settings, in one line.
        KeyboardInterrupt: if it was interrupted; the message says how to continue.
    """
    with _as_it_was():
        words = list(overrides)
        try:
            words = prepared(words_of(overrides, settings))
            with hydra.initialize_config_dir(str(CONF), job_name="vae_lab", version_base="1.3"):
                return _run(words)
        except cli.MISTAKES as error:
            if isinstance(error, UserError) and str(error) == (line := complaint(error, words)):
                raise
            raise UserError(line if isinstance(error, UserError) else complaint(error, words)) from error


def _run(words: Sequence[str]) -> TrainedRun:
    """Compose the config and train, in the folder that it names."""
    ended: list[TrainedRun | Exception] = []

    def task(config: DictConfig) -> None:
        folder = Path(HydraConfig.get().runtime.output_dir)
        try:
            if config.task != "train":
                raise UserError(f"task={config.task}: this call trains; other tasks are for the command line")
            with _log_of(folder):
                cli.done(config)
            trust = packages_of(OmegaConf.to_container(config))  # what the caller has just named
            ended.append(TrainedRun(folder, config.data.get("root"), trust))
        except SystemExit as end:
            if end.code != INTERRUPTED:
                raise
            raise KeyboardInterrupt(f'interrupted; vae_lab.train("resume={folder}") continues this run') from None
        except Exception as error:
            ended.append(error)  # Hydra would print a line about it
        finally:
            cli.discard_if_empty(config)

    own = GlobalHydra.instance().hydra
    assert own is not None
    own.run("config", task, list(words), with_log_configuration=False)
    if isinstance(ended[0], Exception):
        raise ended[0]
    return ended[0]


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """Leave Hydra's state, warnings and Lightning's loggers as they were: the next cell of a notebook is no run."""
    user = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()  # the caller may be a program of Hydra itself
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    before = [(logger.handlers[:], logger.propagate, logger.level) for logger in loggers]
    with warnings.catch_warnings():
        try:
            yield
        finally:
            GlobalHydra.instance().hydra = user
            for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
                logger.handlers[:], logger.propagate, logger.level = handlers, propagate, level


@contextlib.contextmanager
def _log_of(folder: Path) -> Iterator[None]:
    """Write ``run.log`` as the command line does, and show only warnings."""
    file, screen = logging.FileHandler(folder / "run.log", encoding="utf-8"), logging.StreamHandler(sys.stderr)
    dated = HydraConfig.get().job_logging["formatters"]["dated"]["format"]
    file.setFormatter(logging.Formatter(dated))
    screen.setLevel(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("vae_lab", "lightning")]
    before = [logger.level for logger in loggers]
    loggers[0].setLevel(logging.INFO)
    for logger in loggers:
        logger.addHandler(file)
        logger.addHandler(screen)
    try:
        yield
    finally:
        file.close()
        for logger, level in zip(loggers, before, strict=True):
            logger.removeHandler(file)
            logger.removeHandler(screen)
            logger.setLevel(level)
