"""What a person reads of a run's figures."""

import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from vae_lab.evaluation.kl_estimates import Curve
from vae_lab.models.vae import VAE
from vae_lab.sweeps.runs import Run, settings_of
from vae_lab.sweeps.settings import follows, name_of
from vae_lab.sweeps.settings import shown as value_shown


def is_likelihood(config: DictConfig) -> bool:
    """Whether the figures are bounds of log p(x): grey levels under a Bernoulli give a cross-entropy instead."""
    return not (config.data.binarization == "none" and config.likelihood._target_.endswith(".Bernoulli"))


def hparams_of(config: DictConfig, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Settings for TensorBoard's HPARAMS tab: all that a sweep's report can name, under the same names.

    Args:
        config: of the run.
        choices: of the groups, as Hydra made them.
    """
    # resolved, as it is in the run folder: a value that follows another is then known by being equal
    resolved = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    assert isinstance(resolved, DictConfig)
    run = Run(Path(), "", settings_of(resolved))
    found = {
        name_of(key): value if _is_number(value) else value_shown(key, value)
        for key, value in run.settings.items()
        if key != "task" and not key.endswith("._partial_") and not follows(key, [run])
    }
    return found | {name: str(choice) for name, choice in choices.items() if name in found}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(path: Path) -> Path:
    """A path as a person would type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def table(metrics: Mapping[str, Any], folder: Path) -> str:
    """The figures of a run as a few aligned lines, and where the rest lies."""
    rows = [
        (
            "test NELBO",
            f"{metrics['test/nelbo']:10.2f}   nats per image, {metrics['test/n']:,.0f} images",
        ),
        ("  KL", f"{metrics['test/kl']:10.2f}"),
        ("  reconstruction", f"{metrics['test/reconstruction']:10.2f}   {_pixels(metrics)}"),
    ]
    bounds = sorted((int(name.split("_")[-1]), name) for name in metrics if re.fullmatch(r"test/nll_iwae_\d+", name))
    for k, name in bounds:
        spread = f"± {metrics[f'{name}_se']:.2f}, importance-weighted bound, k = {k:,}"
        rows.append(("  −log p(x)", f"{metrics[name]:10.2f}   {spread}"))
    if "test/active_units" in metrics:
        rows.append(("  active units", f"{metrics['test/active_units']:7d}"))
    if "best/val/nelbo" in metrics:
        rows.append(("validation NELBO", f"{metrics['best/val/nelbo']:10.2f}   best, epoch {metrics['best/epoch']}"))
    if "train/seconds" in metrics:
        speed = f"{metrics['train/images_per_second']:,.0f} images/s on {metrics['device']}"
        rows.append(("training", f"{metrics['train/seconds']:10.1f} s {speed}"))
    if "judge/samples" in metrics:
        rows += _judged(metrics)
    lines = [f"{name:<18}{value}" for name, value in rows]
    where = shown(folder)
    return "\n".join(
        [
            "",
            *lines,
            "",
            f"figures, checkpoints, metrics.json: {where}",
            f"tensorboard --logdir {where.parent}",
        ]
    )


def _judged(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    judged = {name.removeprefix("judge/"): value for name, value in metrics.items() if name.startswith("judge/")}
    own_features = "between digit features of our own classifier, not Inception's"
    return [
        ("samples judged", f"{judged['samples']:10,d}   decoded means of draws from the prior"),
        (
            "  Fréchet",
            f"{judged['frechet_distance']:10.2f}   {own_features}; "
            f"training images: {judged['frechet_distance_of_training_images']:.2f}",
        ),
        ("  kernel distance", f"{judged['kernel_distance']:10.3f}   ± {judged['kernel_distance_sd']:.3f}, likewise"),
        ("  confidence", f"{judged['confidence']:10.3f}   mean probability of the likeliest label"),
        ("  class balance", f"{judged['class_balance']:10.3f}   1 where all labels are drawn as often"),
        (
            "  nearest training",
            f"{judged['nearest_distance']:10.2f}   Euclidean distance over pixels; "
            f"test images: {judged['nearest_distance_of_test_images']:.2f}",
        ),
        (
            "labels from codes",
            f"{judged['knn_accuracy']:10.3f}   accuracy of 5 nearest neighbours; "
            f"of logistic regression: {judged['linear_accuracy']:.3f}",
        ),
    ]


def estimator_table(curve: Curve, images: int, folder: Path) -> str:
    """How close a Monte Carlo estimate of the KL came, in three lines."""
    estimate, error = curve.estimate[-1].item(), curve.error[-1].item()
    difference = estimate - curve.value
    drawn = f"nats per image, {images} images, {curve.counts[-1]:,} samples each"
    return "\n".join(
        [
            "",
            f"Monte Carlo KL    {estimate:10.5f} ± {error:.5f}   {drawn}",
            f"{curve.method:<18}{curve.value:10.5f}",
            f"difference        {difference:10.5f}   {difference / error:.1f} standard errors",
            "",
            f"figures, metrics.json: {shown(folder)}",
        ]
    )


def _pixels(metrics: Mapping[str, Any]) -> str:
    if not metrics["is_likelihood"]:
        return "cross-entropy on grey levels, not a likelihood"
    return "grey levels" if metrics["binarization"] == "none" else f"{metrics['binarization']} binarization"


def facts_of(config: DictConfig, trainer: Trainer, model: VAE) -> dict[str, Any]:
    """What a reader must know beside the figures."""
    return {
        "data": config.data.name,
        "binarization": config.data.binarization,
        "is_likelihood": is_likelihood(config),
        "seed": config.seed,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "device": device_name(trainer),
        "versions": ", ".join(
            (
                f"python {platform.python_version()}",
                f"torch {torch.__version__}",
                f"lightning {lightning.__version__}",
            )
        ),
    }


def device_name(trainer: Trainer) -> str:
    """Of what a run is computed on."""
    device = trainer.strategy.root_device
    several = f"{trainer.world_size} × " if trainer.world_size > 1 else ""
    if device.type == "cuda":
        return several + torch.cuda.get_device_name(device)
    return f"{several}{device.type} ({torch.get_num_threads()} threads)"
