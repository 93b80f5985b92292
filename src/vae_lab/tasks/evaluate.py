"""Evaluate: test a finished run again, and measure what takes longer than a test."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from hydra.utils import get_class
from lightning import Trainer
from omegaconf import DictConfig
from torch import Tensor

from vae_lab.config.build import build_training
from vae_lab.config.settings import key_of
from vae_lab.data import ImageDataModule
from vae_lab.data.binarization import scale
from vae_lab.errors import ConfigError, NotOffered, RunFolderError
from vae_lab.evaluation.aggregate import kl_in_two
from vae_lab.evaluation.bounds import active_units, bits_per_dimension, bounds_of_set, over_draws, summary
from vae_lab.evaluation.progress import progress
from vae_lab.figures import curves, images
from vae_lab.figures.style import Form
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.checks import check_limit
from vae_lab.tasks.finished import config_for, open_run, read_for_task
from vae_lab.tasks.gaps import check_gaps, measure_gaps
from vae_lab.tasks.summary import facts_of, table, tested
from vae_lab.tasks.trainer import form_of
from vae_lab.training.figures import FigureCallback
from vae_lab.training.measurements import Measurement

log = logging.getLogger(__name__)

# overrides that may come with task=evaluate, beside those of every task that looks at a finished run
ALSO = ("trainer", "evaluation", "report", "debug")
# arguments of the Trainer that say how long and how it trains
OF_TRAINING = (
    "max_",
    "min_",
    "gradient_clip_",
    "limit_train_batches",
    "detect_anomaly",
    "enable_model_summary",
    "graphs",
)
COPIES = 20  # samples shown beside the training image that is nearest to them

Figures = dict[str, float]


def evaluate(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> float:
    """Test a finished run again, on the device that this command names; returns the test figure of its criterion.

    Args:
        config: config of this command.
        folder: folder of the run.
        overrides: overrides of this command.

    Raises:
        UserError: for a mistake that the user can correct.
    """
    saved = _config_for(config, folder, overrides)
    before, form = _metrics_before(folder), form_of(saved)
    run = open_run(config, saved, folder)
    model, data, trainer = run
    check_figures_stay(trainer, data, before)
    check_gaps(config.evaluation, data, overrides)
    if config.evaluation.bit_draws > 1:
        data.bit_draws(config.evaluation.bit_draws)  # refused now where no bits are drawn
    # device and versions stay those of training; the other facts come from the config
    of_training = {name: before[name] for name in ("device", "versions") if isinstance(before.get(name), str)}
    metrics = before | facts_of(saved, trainer, model) | of_training
    metrics |= tested(trainer, build_training(saved, model), data)
    run.to_device()  # trainer.precision may have changed it
    metrics |= _offered("bounds", lambda: _bounds(model, data, folder, config.evaluation, form))
    metrics |= _offered("active units", lambda: _active_units(model, data))
    metrics |= _offered("mutual information", lambda: _kl_in_two(model, data))
    folder.write_metrics(metrics)
    if config.evaluation.gaps:
        metrics |= _offered("gaps", lambda: measure_gaps(model, data, folder, config.evaluation, form))
        folder.write_metrics(metrics)
    if config.evaluation.samples != "none":
        metrics |= _judge(model, data, folder, config.evaluation.samples, form)
    folder.write_metrics(metrics)
    log.info(table(metrics, folder.path))
    return float(metrics[f"test/{model.criterion}"])


def _check_nothing_trains(overrides: Sequence[str]) -> None:
    """Refuse overrides that would change nothing."""
    for override in overrides:
        if (key := key_of(override)).startswith(tuple(f"trainer.{name}" for name in OF_TRAINING)):
            raise ConfigError(key, override.partition("=")[2], "a finished run is not trained; leave it out")


def check_figures_stay(trainer: Trainer, data: ImageDataModule, before: Mapping[str, Any]) -> None:
    """Refuse a limit that is less than a batch, or whose figures would replace those of more images."""
    data.prepare_data()
    data.trainer = trainer
    data.setup()
    key, limit, loader = "trainer.limit_test_batches", trainer.limit_test_batches, data.test_dataloader()
    check_limit(key, limit, len(loader))
    batches = int(limit * len(loader)) if isinstance(limit, float) else limit
    tested, images = min(batches * data.eval_batch_size, len(data.test_images)), int(before.get("test/n", 0))
    if tested < images:
        reason = f"figures of {tested:,} images would replace those of {images:,}; leave it out (debug=fast sets it)"
        raise ConfigError(key, limit, reason)


def _config_for(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> DictConfig:
    """The saved config, with this command's settings of where the run is evaluated."""
    own = "trainer.*, threads, evaluation.*, figures.*, data.root and data.file"
    reason = f"a finished run keeps its own settings, except {own}"
    saved, overrides = read_for_task(config, folder, overrides, ALSO, reason)
    _check_nothing_trains(overrides)
    saved = config_for(config, saved, overrides)
    # only those that draw or measure: the others have nothing to do in a test, or would write checkpoints
    callbacks = {name: node for name, node in (saved.callbacks or {}).items() if node}
    kinds = {name: get_class(node._target_) for name, node in callbacks.items()}
    serve = [name for name, kind in kinds.items() if issubclass(kind, FigureCallback | Measurement)]
    saved.callbacks = {name: callbacks[name] for name in serve}
    return saved


def _metrics_before(folder: RunFolder) -> dict[str, Any]:
    """The figures that the run already has; refused now if no table could be made of them at the end."""
    metrics = folder.read_metrics()
    try:
        if metrics:
            table(metrics, folder.path)
    except (KeyError, ValueError, TypeError) as error:
        wrong = f"there is no {error.args[0]} in it" if isinstance(error, KeyError) else str(error)
        raise RunFolderError(f"{folder.metrics_file}: damaged ({wrong}; delete it and evaluate again)") from error
    return metrics


def _offered(name: str, measure: Callable[[], Figures]) -> Figures:
    """Figures of a measurement; none, and a line in the log, where the model does not offer what it needs."""
    try:
        return measure()
    except NotOffered as reason:
        log.info("%s: left out, %s", name, reason)
        return {}


def _bounds(model: Model, data: ImageDataModule, folder: RunFolder, settings: DictConfig, form: Form) -> Figures:
    """The importance-weighted bound of the test set, its figure, and its spread over draws of the bits."""
    started, k, draws = time.perf_counter(), settings.k, settings.bit_draws
    with fixed_noise(0, model.device):
        found = bounds_of_set(model, data.test_dataloader(), k)
        measured: dict[str, float] = summary(found, k) | {f"nll_iwae_{k}_seconds": time.perf_counter() - started}
        if draws > 1:
            measured |= over_draws([found, *(bounds_of_set(model, batches, k) for batches in data.bit_draws(draws))], k)
    bits = bits_per_dimension(measured[f"nll_iwae_{k}"], model)
    measured |= {} if bits is None else {f"bits_per_dimension_iwae_{k}": bits}
    form.save(curves.bounds_of_images(found, k), folder.figures / "bounds")
    return {f"test/{name}": value for name, value in measured.items()}


def _kl_in_two(model: Model, data: ImageDataModule) -> Figures:
    """The mutual information of images and codes, and the KL between all codes and the prior."""
    with fixed_noise(0, model.device):
        return {f"test/{name}": value for name, value in kl_in_two(model, data.test_images).items()}


def _active_units(model: Model, data: ImageDataModule) -> Figures:
    with fixed_noise(0, model.device):  # codes that gradient steps find depend on it
        return {"test/active_units": active_units(model.encode(data.test_images))}


def _judge(model: Model, data: ImageDataModule, folder: RunFolder, n: int, form: Form) -> dict[str, Any]:
    """What a classifier says of samples and codes, and the figure of the samples closest to a training image."""
    if len(data.labels or ()) < 2:
        log.info("samples: left out, the images have no labels that a classifier could learn to tell apart")
        return {}
    from vae_lab.evaluation import (  # late: training does not need them, and they import slowly
        classifier,
        sample_quality,
    )

    (training, labels), (test, test_labels) = data.read()
    training, labels, test = (part.to(model.device) for part in (training, labels, test))
    net = classifier.classifier(data.folder / "classifier.pt", training, labels, len(data.labels or ()))
    with fixed_noise(0, model.device), torch.no_grad():
        parts = list[Tensor]()
        with progress(n, "samples") as bar:
            for part in sample_quality.samples_in_parts(model, n):
                parts.append(part)
                bar.update(len(part))
        drawn = torch.cat(parts)
        found, nearest = sample_quality.samples_judged(net, drawn, test, training)
        found |= _offered("labels from codes", lambda: _judge_codes(model, data))
    _, probabilities = net.look(test)
    found["classifier_accuracy"] = (probabilities.argmax(1).cpu() == test_labels).float().mean().item()
    closest = nearest.relative.argsort()[:COPIES]
    originals = scale(training[nearest.indices[closest]])
    form.save(images.copies(drawn[closest], originals, nearest.relative[closest]), folder.figures / "copies")
    return {f"judge/{name}": value for name, value in ({"samples": n} | found).items()}


def _judge_codes(model: Model, data: ImageDataModule) -> Figures:
    from vae_lab.evaluation import sample_quality

    of_training = sample_quality.codes(model.encode, data.training_in_order())
    return sample_quality.codes_judged(of_training, sample_quality.codes(model.encode, data.test_dataloader()))
