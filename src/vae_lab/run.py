"""From a composed config to a finished run: seed, build, fit, test, report."""

import logging
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from lightning import Trainer
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig

from vae_lab import figures
from vae_lab.callbacks import ProgressBar, render
from vae_lab.config import build, build_data, build_model, check
from vae_lab.data import MNISTDataModule
from vae_lab.errors import ConfigError, NonFiniteError, UserError
from vae_lab.evaluation import active_units, bounds_of_set, summary
from vae_lab.loggers import TensorBoard
from vae_lab.randomness import fixed_noise
from vae_lab.report import hparams_of, is_likelihood, table
from vae_lab.run_folder import RunFolder
from vae_lab.vae import VAE

log = logging.getLogger(__name__)


def run(config: DictConfig) -> float:
    """Do what ``task`` says; gives the figure that a sweep compares.

    Raises:
        UserError: for a mistake that the user can mend; a folder that holds nothing yet is taken away.
    """
    folder = RunFolder(HydraConfig.get().runtime.output_dir)
    _quiet_lightning()
    tasks = {"train": train, "evaluate": evaluate}
    try:
        return tasks[config.task](config, folder)
    except UserError:
        folder.discard_if_empty()
        raise


def _quiet_lightning() -> None:
    """Leave out what says nothing to a person who runs this program."""
    # its own handler prints beside Hydra's, and the run announces itself
    logging.getLogger("lightning").handlers.clear()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    # about its own use of torch, a validation that is not wanted, and logging by step: ours is by epoch
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*Total length of `list` across ranks is zero.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")


def train(config: DictConfig, folder: RunFolder) -> float:
    """Train a new run, test its best checkpoint, draw, report; gives the NELBO that runs are chosen by."""
    if folder.config_file.exists():
        raise ConfigError("hydra.run.dir", folder.path, "holds a run already; name another folder")
    check(config)
    lightning.seed_everything(config.seed, verbose=False)
    data, model = build_data(config), build_model(config)
    timer = Timer()
    trainer = _trainer(config, folder, [timer], loggers=True)
    data.prepare_data()
    folder.write_config(config)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            logger.log_config(folder.config_file.read_text())
    _announce(model, trainer, folder)
    if config.start_at_data_mean:
        data.trainer = trainer
        data.setup()
        model.decoder.start_at(data.mean_image().cpu())
    _fit(trainer, model, data, folder)
    seconds = timer.time_elapsed("train") - timer.time_elapsed("validate")
    facts = {
        **_facts(config, trainer, model),
        "epochs": len(model.history),
        "train/seconds": timer.time_elapsed("train"),
        "train/images_per_second": sum(row["train/n"] for row in model.history) / seconds,
    }
    folder.load_weights(model)
    best = min(model.history, key=lambda row: row.get("val/nelbo", row["train/nelbo"]))
    facts |= {
        "best/epoch": int(best["epoch"]) + 1,
        "best/nelbo": best.get("val/nelbo", best["train/nelbo"]),
        **{f"best/{name}": value for name, value in best.items() if "/" in name},
    }
    metrics = facts | _test(trainer, model, data)
    folder.write_metrics(metrics)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            names = ("test/nelbo", "test/kl", "test/reconstruction", "best/nelbo")
            results = {name: metrics[name] for name in names}
            logger.log_results(hparams_of(config, HydraConfig.get().runtime.choices), results, len(model.history))
    log.info(table(metrics, folder.path))
    return float(metrics["best/nelbo"])


def evaluate(config: DictConfig, folder: RunFolder) -> float:
    """Test a finished run again, on the device that this command names; gives its test NELBO."""
    saved = folder.read_config()
    saved.trainer = config.trainer
    check(config)
    data, model = build_data(saved), build_model(saved)
    folder.load_weights(model)
    model.history = folder.read_history()
    trainer = _trainer(saved, folder, [], loggers=False)
    metrics = folder.read_metrics() | _test(trainer, model, data)
    metrics |= _bounds(trainer, model.eval(), data, folder, config.evaluation.k)
    folder.write_metrics(metrics)
    log.info(table(metrics, folder.path))
    return float(metrics["test/nelbo"])


def _bounds(trainer: Trainer, model: VAE, data: MNISTDataModule, folder: RunFolder, k: int) -> dict[str, float]:
    """The importance-weighted bound of the test set, its figure, and the active units."""
    device = trainer.strategy.root_device
    model.to(device)
    started = time.perf_counter()
    with fixed_noise(0, device):
        found = bounds_of_set(model, data.test_dataloader(), k)
    seconds = time.perf_counter() - started
    render(figures.bounds_of_images(found, k), folder.figures / "bounds.png")
    measured = summary(found, k) | {
        f"nll_iwae_{k}_seconds": seconds,
        "active_units": active_units(model.encode(data.test_images)),
    }
    return {f"test/{name}": value for name, value in measured.items()}


def _trainer(config: DictConfig, folder: RunFolder, extra: list[Any], loggers: bool) -> Trainer:
    callbacks = [build(node, f"callbacks.{key}") for key, node in config.callbacks.items() if node]
    on_terminal = sys.stdout.isatty()
    if on_terminal:
        extra = [*extra, ProgressBar()]
    trainer = build(
        config.trainer,
        "trainer",
        default_root_dir=str(folder.path),
        callbacks=[*callbacks, *extra],
        logger=[
            build(node, f"logger.{key}", save_dir=str(folder.path))
            for key, node in (config.logger or {}).items()
            if node and loggers
        ],
        enable_progress_bar=on_terminal,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    assert isinstance(trainer, Trainer)
    return trainer


def _fit(trainer: Trainer, model: VAE, data: MNISTDataModule, folder: RunFolder) -> None:
    """Train; says what is left on disk where that ends early."""
    try:
        trainer.fit(model, data)
    except NonFiniteError as error:
        kept = f"; the last good checkpoint is {folder.best}" if folder.best.exists() else ""
        raise NonFiniteError(f"{error}{kept}") from error
    except SystemExit:
        if trainer.interrupted:
            last = folder.checkpoints / "last.ckpt"
            log.info("stopped in epoch %d; %s holds the model as it is now", trainer.current_epoch + 1, last)
            sys.exit(130)  # as a shell counts Ctrl-C
        raise


def _test(trainer: Trainer, model: VAE, data: MNISTDataModule) -> dict[str, float]:
    trainer.test(model, data, verbose=False)
    return {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("test/")}


def _announce(model: VAE, trainer: Trainer, folder: RunFolder) -> None:
    choices = HydraConfig.get().runtime.choices
    parts = ("data", "encoder", "decoder", "likelihood", "prior", "loss")
    log.info("  ".join(f"{part}={choices[part]}" for part in parts))
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    device = _device_name(trainer)
    steps = trainer.max_steps
    length = f"{trainer.max_epochs} epochs" if steps < 0 else f"{steps:,} steps"
    log.info(f"{size:,} parameters on {device}, up to {length}, into {_shown(folder.path)}")


def _facts(config: DictConfig, trainer: Trainer, model: VAE) -> dict[str, Any]:
    """What a reader must know beside the figures."""
    return {
        "data": config.data.name,
        "binarization": config.data.binarization,
        "is_likelihood": is_likelihood(config),
        "seed": config.seed,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "device": _device_name(trainer),
        "versions": ", ".join(
            (
                f"python {platform.python_version()}",
                f"torch {torch.__version__}",
                f"lightning {lightning.__version__}",
            )
        ),
    }


def _device_name(trainer: Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({torch.get_num_threads()} threads)"


def _shown(path: Path) -> Path:
    """A path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
