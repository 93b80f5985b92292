"""Train: seed, build, fit, test the best checkpoint, draw, report."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import torch
from hydra.errors import HydraException
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vae_lab.config.settings import APART_AS_OVERRIDES, parts_of
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, DiskError, NonFiniteError, NotOffered, RunFolderError
from vae_lab.paths import expanded
from vae_lab.runs.constants import constants_of, varying
from vae_lab.runs.folder import RunFolder
from vae_lab.runs.initial import initial_weights
from vae_lab.tasks.checks import check_before_training
from vae_lab.tasks.process import ended_by_signals, runs_at_once
from vae_lab.tasks.start import choose_threads, start
from vae_lab.tasks.summary import announcement, best_of, facts_of, hparams_of, shown, table, tested, why_stopped_early
from vae_lab.tasks.trainer import make_trainer
from vae_lab.training.loggers import RunLogger, close
from vae_lab.training.module import Training
from vae_lab.training.progress import Clock
from vae_lab.training.signals import Interruption

log = logging.getLogger(__name__)

# the usual epsilon is 0 in float16, and a pixel that is always black then divides 0 by 0
OF_FLOAT16 = "training turned NaN: float16 rounds optimizer.eps=1e-8 to 0; use bf16-true, or +optimizer.eps=1e-4"


def train(
    config: DictConfig, folder: RunFolder, overrides: Sequence[str] | None, checkpoint: Path | None = None
) -> float:
    """Train, test the best checkpoint, draw, report; returns the figure that runs are chosen by.

    Args:
        config: config of the run.
        folder: folder of the run, new, or that of the checkpoint.
        overrides: overrides that the config was composed from; None where they are not known.
        checkpoint: file from which a run that was cut off continues; None for a new run.

    Raises:
        UserError: for a mistake that the user can correct.
    """
    if not (config.callbacks or {}).get("best"):
        raise ConfigError("callbacks.best", None, "is required: a run is tested with its best checkpoint")
    data, training = start(config, folder, is_new=checkpoint is None)
    longest = OmegaConf.select(config, "trainer.max_time")
    clock = Clock(dict(longest) if isinstance(longest, DictConfig) else longest)
    interruption = Interruption(training)
    with ended_by_signals(interruption, folder), ExitStack() as at_the_end:
        trainer = make_trainer(config, folder, [clock, interruption], loggers=True)
        at_the_end.push(lambda kind, *_: close(trainer.loggers, failed=kind is not None))
        data.prepare_data()
        data.trainer = trainer  # it says which device the images go to
        data.setup()
        check_before_training(config, trainer, training, data)
        weights = _initial(config, training) if checkpoint is None else {}
        if checkpoint is None:
            choose_threads(config, training, trainer)
            _claim(config, folder, trainer, overrides)
        log.info(announcement(config, training.model, trainer, folder.path, checkpoint))
        if (others := runs_at_once()) > 1:
            told = "memory: the data set takes %.0f MB of %s in this process, as in each of the %d that run at once"
            log.info(told, data.megabytes, trainer.strategy.root_device, others)
        _make_ready(config, training, data, trainer)
        training.model.load_state_dict(weights, strict=False)
        _fit(trainer, training, data, folder, checkpoint)
        if reason := why_stopped_early(trainer, training.model):
            log.info(reason)
        folder.load_weights(training.model)
        return _conclude(config, folder, trainer, training, data, clock)


def _initial(config: DictConfig, training: Training) -> Mapping[str, Tensor]:
    """The weights that a new run starts from; none where it starts untrained. Its config records the folder."""
    if not config.get("init_from"):
        return {}
    config.init_from = str(Path(expanded(config.init_from)).resolve())
    return initial_weights(RunFolder(config.init_from), training.model, config.init_strict)


def _claim(config: DictConfig, folder: RunFolder, trainer: Trainer, overrides: Sequence[str] | None) -> None:
    """Write the config, which claims the folder, the overrides that it came from, and both for the loggers."""
    if trainer.is_global_zero:
        folder.write_config(config)
        if overrides is not None:
            folder.write_overrides(list(overrides))
    settings = hparams_of(config, parts_of(config))
    for logger in trainer.loggers:
        logger.log_hyperparams(settings)
        if isinstance(logger, RunLogger):
            logger.log_config(folder.config_file.read_text())


def _make_ready(config: DictConfig, training: Training, data: ImageDataModule, trainer: Trainer) -> None:
    """Start the model at the data's mean and compile the loss, where the config says so."""
    if config.start_at_data_mean:
        try:
            training.model.start_at(data.mean_image().cpu())
        except NotOffered as reason:
            log.info("start_at_data_mean: left out, %s", reason)
    if config.get("compile"):
        # on a GPU the compiled steps are captured as graphs, so that small nets do not wait for kernels to start
        torch.compiler.reset()  # a sweep compiles more models in one process than the compiler keeps apart
        graphs = trainer.strategy.root_device.type == "cuda"
        training.loss.compile(mode="reduce-overhead" if graphs else None)


def _fit(
    trainer: Trainer, training: Training, data: ImageDataModule, folder: RunFolder, checkpoint: Path | None
) -> None:
    """Fit; if that ends early, say which checkpoint is left."""
    try:
        trainer.fit(training, data, ckpt_path=checkpoint, weights_only=True)
    except (NonFiniteError, DiskError) as error:
        good = next((file for file in (folder.last, folder.best) if file.exists()), None)
        if isinstance(error, NonFiniteError) and trainer.precision == "16-true":
            raise ConfigError("trainer.precision", "16-true", OF_FLOAT16) from error
        kept = f"; the last good checkpoint is {shown(good)}" if good else ""
        raise type(error)(f"{error}{kept}") from error


def _conclude(
    config: DictConfig, folder: RunFolder, trainer: Trainer, training: Training, data: ImageDataModule, clock: Clock
) -> float:
    """Test the best weights, which draws the figures, and report."""
    model = training.model
    seconds = clock.time_elapsed("train")
    metrics = {
        **facts_of(config, trainer, model),
        "epochs": len(model.history),
        "train/seconds": seconds,
        "train/images_per_second": sum(row["train/n"] for row in model.history) / (seconds - clock.validation),
        **best_of(model),
        **tested(trainer, training, data),
    }
    if trainer.is_global_zero:
        folder.write_metrics(metrics)
    for logger in trainer.loggers:
        if isinstance(logger, RunLogger):
            criterion = model.criterion
            names = (f"test/{criterion}", "test/kl", "test/reconstruction", f"best/{criterion}")
            results = {name: metrics[name] for name in names if name in metrics}
            results["lr"] = float(config.optimizer.lr)  # HPARAMS shows the last point, and a schedule ends at 0
            settings = hparams_of(config, parts_of(config), _swept(folder))
            logger.log_results(settings, results, len(model.history))
    log.info(table(metrics, folder.path))
    return float(metrics[f"best/{model.criterion}"])


def _swept(folder: RunFolder) -> list[str]:
    """The keys that differ in the sweep of a run; none where it is a single run, or its sweep does not say them."""
    with suppress(RunFolderError, HydraException):  # the run is not about what somebody wrote there
        constant = constants_of(folder.path.parent)
        found = varying(folder.read_overrides() or [], constant) if constant else {}
        return [key for key in found if not key.startswith(APART_AS_OVERRIDES)]
    return []
