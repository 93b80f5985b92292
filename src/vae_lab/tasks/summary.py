"""Facts, figures and tables of a run."""

import math
import platform
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning import Trainer
from lightning.pytorch.callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from lightning.pytorch.plugins.precision import Precision
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.columns import columns_of
from vae_lab.config.settings import parts_of
from vae_lab.data import ImageDataModule
from vae_lab.evaluation.bounds import bits_per_dimension
from vae_lab.evaluation.kl_estimates import KLEstimates
from vae_lab.evaluation.progress import duration
from vae_lab.figures.quantities import quantity_of
from vae_lab.models import Model
from vae_lab.paths import argument
from vae_lab.runs.folder import criterion_name
from vae_lab.training.module import Training
from vae_lab.training.progress import Clock, steps_of


def shown(path: Path) -> Path:
    """A path as users type it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# --- facts ----------------------------------------------------------------------------------------------------


def is_likelihood(config: DictConfig) -> bool:
    """Whether the figures are bounds of log p(x): grey levels under a Bernoulli give a cross-entropy instead."""
    likelihood = str((config.get("likelihood") or {}).get("_target_"))
    return not (config.data.get("binarization") == "none" and likelihood.endswith(".Bernoulli"))


def facts_of(config: DictConfig, trainer: Trainer, model: Model) -> dict[str, Any]:
    """What a reader must know besides the figures."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "lightning": lightning.__version__}
    return {
        "data": config.data.get("name") or parts_of(config)["data"],
        "binarization": config.data.get("binarization", "dynamic"),
        **({"is_likelihood": is_likelihood(config)} if model.criterion == "nelbo" else {}),
        "is_density": model.likelihood_of_pixels is not None and model.likelihood_of_pixels.is_density,
        "criterion": model.criterion,
        "seed": config.seed,
        "parameters": parameters_of(model),
        "device": device_name(trainer),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }


def parameters_of(model: Model) -> int:
    """Number of parameters that learn."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def device_name(trainer: Trainer) -> str:
    """Name of the device that a run is computed on."""
    device = trainer.strategy.root_device
    several = f"{trainer.world_size} × " if trainer.world_size > 1 else ""
    if device.type == "cuda":
        return several + torch.cuda.get_device_name(device)
    return f"{several}{device.type} ({torch.get_num_threads()} threads)"


def hparams_of(config: DictConfig, choices: Mapping[str, Any], swept: Collection[str] = ()) -> dict[str, Any]:
    """Settings for TensorBoard's HPARAMS tab: all that a sweep's report can name, under the same names.

    TensorBoard shows five columns and more, also of keys that do not differ. A single run cannot know which differ;
    a run of a sweep has the keys that its command sweeps, and the arguments of the parts that it sweeps.

    Args:
        config: config of the run.
        choices: choice of each group, as Hydra made them.
        swept: keys and groups that differ in the sweep of this run; empty where that is not known.
    """
    # resolved, as it is in the run folder: a value that follows another is then recognised, as they are equal
    resolved = OmegaConf.create(OmegaConf.to_container(config, resolve=True))
    assert isinstance(resolved, DictConfig)
    found = columns_of(resolved)
    found |= {name: str(choice) for name, choice in choices.items() if name in found}
    if not swept or not set(swept) <= set(found) or "model" in swept:  # a recipe or a kind of model changes any key
        return found
    return {name: value for name, value in found.items() if any(f"{name}.".startswith(f"{key}.") for key in swept)}


# --- figures --------------------------------------------------------------------------------------------------


def tested(trainer: Trainer, training: Training, data: ImageDataModule) -> dict[str, float]:
    """Test figures of a model, computed in float32; the figure callbacks of the trainer draw after the test."""
    training.float()
    trainer.strategy.precision_plugin = Precision()
    trainer.test(training, data, verbose=False)
    found = {name: value.item() for name, value in trainer.callback_metrics.items() if name.startswith("test/")}
    bits = bits_per_dimension(found["test/nelbo"], training.model) if "test/nelbo" in found else None
    return found if bits is None else found | {"test/bits_per_dimension": bits}


def best_of(model: Model) -> dict[str, float]:
    """Figures of the epoch with the lowest criterion: that of validation, or of training without one."""

    def chosen(row: dict[str, float]) -> float:
        return row[name] if (name := f"val/{model.criterion}") in row else row[f"train/{model.criterion}"]

    # an epoch without validation has a figure of training only, which is no rival of the others'
    validated = [row for row in model.history if f"val/{model.criterion}" in row]
    best = min(validated or model.history, key=chosen)
    figures = {f"best/{name}": value for name, value in best.items() if "/" in name}
    return {"best/epoch": int(best["epoch"]) + 1, f"best/{model.criterion}": chosen(best), **figures}


def why_stopped_early(trainer: Trainer, model: Model) -> str | None:
    """One line for a training that ended before its last epoch or step, with its best epoch; None for others."""
    if trainer.global_step >= steps_of(trainer):
        return None
    reasons = []
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, EarlyStopping) and callback.stopping_reason_message:
            is_usual = callback.stopping_reason == EarlyStoppingReason.PATIENCE_EXHAUSTED
            usual = f"{callback.monitor} did not improve for {callback.wait_count} epochs."
            said = callback.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
            reasons.append(usual if is_usual else said)
        if isinstance(callback, Clock) and callback.limit is not None and callback.time_elapsed() >= callback.limit:
            reasons.append(f"trainer.max_time={duration(callback.limit)} is over.")
    best = best_of(model)
    figure = f"{quantity_of(model.criterion).name} {best[f'best/{model.criterion}']:.2f} in epoch {best['best/epoch']}"
    return f"stopped early, in epoch {len(model.history)}: {' '.join(reasons)} Best {figure}"


# --- tables ---------------------------------------------------------------------------------------------------


def announcement(config: DictConfig, model: Model, trainer: Trainer, folder: Path, checkpoint: Path | None) -> str:
    """What a run prints before it trains: its parts, size, device, length and folder."""
    parts = parts_of(config)
    named = ("data", "model", "encoder", "posterior", "decoder", "likelihood", "prior", "discriminator", "loss")
    usual = {"model": "vae", "posterior": "diagonal_normal"}  # not shown
    steps = trainer.max_steps
    length = f"{trainer.max_epochs} epochs" if steps < 0 else f"{steps:,} steps"
    limits = [callback.limit for callback in trainer.callbacks if isinstance(callback, Clock)]  # type: ignore[attr-defined]
    length += "".join(f" or {duration(limit)}" for limit in limits if limit)
    lines = [
        "  ".join(f"{part}={parts[part]}" for part in named if part in parts and parts[part] != usual.get(part)),
        f"{parameters_of(model):,} parameters on {device_name(trainer)}, up to {length}, into {shown(folder)}",
        *([f"going on from {shown(checkpoint)}"] if checkpoint else []),
    ]
    return "\n".join(lines)


def table(metrics: Mapping[str, Any], folder: Path) -> str:
    """The figures of a run as a few aligned lines, and where the rest is."""
    criterion = criterion_name(metrics)
    words = quantity_of(criterion)
    unit = f"{words.unit}, " if words.unit else ""
    rows = [
        (f"test {words.name}", f"{metrics[f'test/{criterion}']:10.2f}   {unit}{metrics['test/n']:,.0f} images"),
        *_terms(metrics),
    ]
    if f"best/val/{criterion}" in metrics:
        best = f"{metrics[f'best/val/{criterion}']:10.2f}   best, epoch {metrics['best/epoch']}"
        rows.append((f"validation {words.name}", best))
    if "train/seconds" in metrics:
        speed = f"{metrics['train/images_per_second']:,.0f} images/s on {metrics['device']}"
        rows.append(("training", f"{metrics['train/seconds']:10.1f} s {speed}"))
    if "gaps/total" in metrics:
        rows += _gaps(metrics)
    if "judge/samples" in metrics:
        rows += _judged(metrics)
    where, widest = shown(folder), max(18, *(len(name) for name, _ in rows if not name.startswith(" ")))
    return "\n".join(
        [
            "",
            *(f"{name:<{widest}}{value}" for name, value in rows),
            "",
            f"figures, checkpoints, metrics.json: {where}",
            f"tensorboard {argument('--logdir', where.parent)}",
        ]
    )


def _terms(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The terms of the NELBO, bounds of log p(x) and active units, where the run has them."""
    rows = []
    if "test/kl" in metrics:
        layers = sorted((int(name.rpartition("z")[2]), name) for name in metrics if re.fullmatch(r"test/kl_z\d+", name))
        of_each = ", ".join(f"{metrics[name]:.2f}" for _, name in layers)
        rows.append(("  KL", f"{metrics['test/kl']:10.2f}" + (f"   from z₁ up: {of_each}" if layers else "")))
    if "test/reconstruction" in metrics:
        rows.append(("  reconstruction", f"{metrics['test/reconstruction']:10.2f}   {_pixels(metrics)}"))
    bounds = sorted((int(name.split("_")[-1]), name) for name in metrics if re.fullmatch(r"test/nll_iwae_\d+", name))
    for k, name in bounds:
        spread = f"± {metrics[f'{name}_se']:.2f}, importance-weighted bound, k = {k:,}"
        rows.append(("  −log p(x)", f"{metrics[name]:10.2f}   {spread}"))
        if draws := metrics.get(f"test/bit_draws_{k}"):
            spread = f"± {metrics[f'{name}_over_draws_sd']:.2f}, standard deviation over {draws} draws of the bits"
            rows.append(("    over draws", f"{metrics[f'{name}_over_draws']:10.2f}   {spread}, k = {k:,}"))
    if "test/bits_per_dimension" in metrics:
        rows.append(("  bits/dimension", _bits(metrics, [k for k, _ in bounds])))
    if "test/active_units" in metrics:
        rows.append(("  active units", f"{metrics['test/active_units']:7d}"))
    if "test/marginal_kl" in metrics:
        images = metrics["test/mixture_images"]
        told = f"of z and x, at most log {images:,} = {math.log(images):.2f}"
        rows.append(("  mutual information", f"{metrics['test/mutual_information']:8.2f}   {told}"))
        gain = "of all codes together and the prior: a better prior can gain at most this"
        rows.append(("  marginal KL", f"{metrics['test/marginal_kl']:10.2f}   {gain}"))
    return rows


def _bits(metrics: Mapping[str, Any], draws: Sequence[int]) -> str:
    """The NELBO and the bounds of k draws in bits, of each pixel and channel."""
    name = "test/bits_per_dimension"
    bounds = [f"; k = {k:,}: {metrics[f'{name}_iwae_{k}']:.3f}" for k in draws if f"{name}_iwae_{k}" in metrics]
    return f"{metrics[name]:11.3f}  of the NELBO, for each pixel and channel{''.join(bounds)}"


def _gaps(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where log p(x) − ELBO comes from."""

    def with_error(name: str) -> str:
        return f"{metrics[f'gaps/{name}']:10.2f}   ± {metrics[f'gaps/{name}_se']:.2f}"

    chains = f"{metrics['gaps/ais_chains']} chains of {metrics['gaps/ais_steps']:,} steps"
    quality = f"effective {metrics['gaps/ais_effective']:.1f}, acceptance {metrics['gaps/ais_acceptance']:.2f}"
    annealed = metrics["gaps/nll"] == metrics["gaps/nll_annealed"]
    closer = "annealed importance sampling" if annealed else "the importance-weighted bound"
    return [
        ("log p(x) − ELBO", f"{with_error('total')}, {metrics['gaps/images']:,} test images, log p(x) by {closer}"),
        ("  −log p(x)", f"{with_error('nll_annealed')}, annealed importance sampling, {chains}: {quality}"),
        ("  approximation", f"{with_error('approximation')}, best q of the family against log p(x)"),
        ("  amortisation", f"{with_error('amortisation')}, q of the model against the best of its family"),
        (
            "  best diagonal q",
            f"{with_error('nelbo_best_diagonal')}, its NELBO; best q of the family: {metrics['gaps/nelbo_best']:.2f}",
        ),
    ]


def _pixels(metrics: Mapping[str, Any]) -> str:
    if not metrics["is_likelihood"]:
        return "cross-entropy on grey levels, not a likelihood"
    pixels = "grey levels" if metrics["binarization"] == "none" else f"{metrics['binarization']} binarization"
    return pixels + (", a density, not a probability" if metrics.get("is_density") else "")


def _judged(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What a classifier said of samples, and of codes where there are some."""
    judged = {name.removeprefix("judge/"): value for name, value in metrics.items() if name.startswith("judge/")}

    def beside(what: str, name: str) -> str:
        return f"; {what}: {judged[name]:.3f}" if name in judged else ""  # an earlier version did not measure it

    own_features = "between features of our own classifier, not Inception's"
    rows = [
        ("samples judged", f"{judged['samples']:10,d}   decoded draws from the prior"),
        (
            "  Fréchet",
            f"{judged['frechet_distance']:10.2f}   {own_features}; "
            f"training images: {judged['frechet_distance_of_training_images']:.2f}",
        ),
        (
            "  kernel distance",
            f"{judged['kernel_distance']:10.3f}   ± {judged['kernel_distance_sd']:.3f}, likewise"
            + beside("training images", "kernel_distance_of_training_images"),
        ),
        *_precision_and_recall(judged),
        (
            "  confidence",
            f"{judged['confidence']:10.3f}   mean probability of the likeliest label"
            + beside("test images", "confidence_of_test_images"),
        ),
        (
            "  class balance",
            f"{judged['class_balance']:10.3f}   1 where all labels are drawn as often"
            + beside("test images", "class_balance_of_test_images"),
        ),
        (
            "  nearest training",
            f"{judged['nearest_distance']:10.2f}   Euclidean distance over pixels; "
            f"test images: {judged['nearest_distance_of_test_images']:.2f}",
        ),
    ]
    if "knn_accuracy" in judged:
        linear = f"of logistic regression: {judged['linear_accuracy']:.3f}"
        rows.append(
            ("labels from codes", f"{judged['knn_accuracy']:10.3f}   accuracy of 5 nearest neighbours; {linear}")
        )
    return rows


def _precision_and_recall(judged: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The share of samples near real images and of real images near samples, where they were measured."""
    words = {"precision": "of the samples lie among test images", "recall": "of the test images lie among samples"}
    return [
        (f"  {name}", f"{judged[name]:10.3f}   {told}; training images: {judged[f'{name}_of_training_images']:.3f}")
        for name, told in words.items()
        if name in judged
    ]


def estimator_table(found: KLEstimates, images: int, folder: Path) -> str:
    """A Monte Carlo estimate of the KL beside its value, in three lines."""
    estimate, error = found.estimate[-1].item(), found.error[-1].item()
    difference = estimate - found.value
    drawn = f"nats per image, {images} images, {found.counts[-1]:,} samples each"
    return "\n".join(
        [
            "",
            f"Monte Carlo KL    {estimate:10.5f} ± {error:.5f}   {drawn}",
            f"{found.method:<18}{found.value:10.5f}",
            f"difference        {difference:10.5f}   {difference / error:.1f} standard errors",
            "",
            f"figures, metrics.json: {shown(folder)}",
        ]
    )
