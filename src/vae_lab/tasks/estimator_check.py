"""Estimator check: the Monte Carlo KL of an untrained model against its value."""

import logging
from collections.abc import Sequence

import torch
from omegaconf import DictConfig

from vae_lab.errors import ConfigError
from vae_lab.evaluation.kl_estimates import kl_curve
from vae_lab.figures import curves
from vae_lab.figures.style import render
from vae_lab.randomness import fixed_noise
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.start import start
from vae_lab.tasks.summary import estimator_table

log = logging.getLogger(__name__)

COUNTS = torch.arange(1, 3902, 100)  # samples of z for each image, as in the course sheet


def estimator_check(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> float:
    """Compare the Monte Carlo KL of an untrained model with its value; returns the difference in standard errors.

    Args:
        config: config of the run.
        folder: new folder of the run.
        overrides: overrides that the config was composed from.

    Raises:
        ConfigError: if the model has no posterior and prior, or the KL's value cannot be found.
    """
    data, training = start(config, folder)
    data.prepare_data()
    data.setup()
    x, _ = next(iter(data.train_dataloader()))
    with fixed_noise(0, training.model.device):
        latents = training.model.draw(training.model.infer(x), x, 1).latents
    if len(latents) != 1:
        reason = "has no single posterior and prior to compare; use vae"
        raise ConfigError("model", type(training.model).__name__, reason)
    try:
        found = kl_curve(latents[0].q, latents[0].p, COUNTS)
    except ValueError as reason:
        raise ConfigError("latent_dim", config.latent_dim, str(reason)) from reason
    folder.write_config(config)
    folder.write_overrides(list(overrides))
    render(curves.estimate_by_samples(found), folder.figures / "estimator_check.png")
    estimate, error = found.estimate[-1].item(), found.error[-1].item()
    measured = {"n": int(found.counts[-1]), "estimate": estimate, "error": error, "value": found.value}
    folder.write_metrics(
        {f"estimator/{name}": value for name, value in measured.items()} | {"estimator/method": found.method}
    )
    log.info(estimator_table(found, len(x), folder.path))
    return (estimate - found.value) / error
