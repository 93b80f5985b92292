"""Estimator check: the Monte Carlo KL of a model, untrained or of a finished run, against its value."""

import logging
from collections.abc import Sequence

import torch
from omegaconf import DictConfig
from torch import Tensor

from vae_lab.errors import ConfigError
from vae_lab.evaluation.kl_estimates import KLEstimates, kl_curve
from vae_lab.figures import curves
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.finished import config_for, open_run, read_for_task
from vae_lab.tasks.start import start
from vae_lab.tasks.summary import estimator_table
from vae_lab.tasks.trainer import form_of

log = logging.getLogger(__name__)

IMAGES = 256  # of a finished run, at most, as in the course sheet
LARGEST = 3901  # samples of z for each image, as in the course sheet
COUNTS = torch.logspace(0, torch.tensor(float(LARGEST)).log10().item(), 40).round().long().unique()


def estimator_check(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> float:
    """Compare the Monte Carlo KL of a model with its value; returns the difference in standard errors.

    Args:
        config: config of the run. With ``run_dir`` it is that finished run's model, else an untrained one.
        folder: folder of that run, or of a new one.
        overrides: overrides that the config was composed from.

    Raises:
        ConfigError: if the model has no posterior and prior, or the KL's value cannot be found.
    """
    if config.run_dir:
        return _of_finished(config, folder, overrides)
    data, training = start(config, folder)
    data.prepare_data()
    data.setup()
    x, _ = next(iter(data.train_dataloader()))
    found = _measured(training.model, x, config)
    folder.write_config(config)
    folder.write_overrides(list(overrides))
    return _report(found, len(x), config, folder)


def _of_finished(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> float:
    """The same of a finished run's model and a batch of its training images; the results join that run's."""
    reason = "a finished run keeps its own settings, except figures.*, data.root and data.file"
    saved, overrides = read_for_task(config, folder, overrides, ("trainer.accelerator", "trainer.devices"), reason)
    saved = config_for(config, saved, overrides)
    saved.callbacks = None
    run = open_run(config, saved, folder)
    run.set_up()
    run.to_device()
    with fixed_noise(saved.seed, run.model.device):
        x, _ = next(iter(run.data.train_dataloader()))
        x = x[:IMAGES]
        found = _measured(run.model, x, saved)
    return _report(found, len(x), saved, folder)


def _measured(model: Model, x: Tensor, config: DictConfig) -> KLEstimates:
    with fixed_noise(0, model.device), torch.no_grad():
        latents = model.draw(model.infer(x), x, 1).latents
    if len(latents) != 1:
        raise ConfigError("model", type(model).__name__, "has no single posterior and prior to compare; use vae")
    try:
        return kl_curve(latents[0].q, latents[0].p, COUNTS)
    except ValueError as reason:
        raise ConfigError("latent_dim", config.latent_dim, str(reason)) from reason


def _report(found: KLEstimates, images: int, config: DictConfig, folder: RunFolder) -> float:
    """Draw, write and print what was found; returns the difference in standard errors."""
    form_of(config).save(curves.estimate_by_samples(found), folder.figures / "estimator_check")
    estimate, error = found.estimate[-1].item(), found.error[-1].item()
    measured = {"n": int(found.counts[-1]), "estimate": estimate, "error": error, "value": found.value}
    named = {f"estimator/{name}": value for name, value in measured.items()} | {"estimator/method": found.method}
    folder.write_metrics(folder.read_metrics() | named)
    log.info(estimator_table(found, images, folder.path))
    return (estimate - found.value) / error
