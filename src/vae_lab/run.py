"""From a composed config to a finished run: seed, build, fit, test, report."""

import logging
import platform
import sys
import time
import warnings
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from lightning import Trainer
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig

from vae_lab import figures
from vae_lab.callbacks import FigureCallback, ProgressBar, render
from vae_lab.cli import output_dir
from vae_lab.config import build, build_data, build_model, check
from vae_lab.data import MNISTDataModule, files
from vae_lab.data.binarization import scale
from vae_lab.errors import ConfigError, NonFiniteError, RunFolderError, UserError
from vae_lab.estimators import kl_curve
from vae_lab.evaluation import active_units, bounds_of_set, summary
from vae_lab.loggers import TensorBoard
from vae_lab.randomness import fixed_noise
from vae_lab.report import estimator_table, hparams_of, is_likelihood, shown, table
from vae_lab.run_folder import RunFolder
from vae_lab.vae import VAE

log = logging.getLogger(__name__)

# what may be said anew of a finished run
OF_EVALUATION = ("task", "run_dir", "trainer", "evaluation", "debug", "data.root", "hydra")


def run(config: DictConfig) -> float:
    """Do what ``task`` says; gives the figure that a sweep compares.

    Raises:
        UserError: for a mistake that the user can mend; a folder that holds nothing yet is taken away.
    """
    written = RunFolder(HydraConfig.get().runtime.output_dir)
    _quiet_lightning()
    tasks = {"train": train, "evaluate": evaluate, "estimator_check": estimator_check}
    try:
        check(config)
        # asked again: a multirun and an explicit hydra.run.dir pass by the check inside hydra.run.dir
        folder = RunFolder(output_dir(config.task, config.run_dir, str(written.path)))
        return tasks[config.task](config, folder)
    except UserError:
        written.discard_if_empty(with_folder=config.task != "evaluate")
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
    if not (config.callbacks or {}).get("best"):
        raise ConfigError("callbacks.best", None, "the best checkpoint is what a run is tested with and leaves")
    data, model = _start(config, folder)
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


def _start(config: DictConfig, folder: RunFolder) -> tuple[MNISTDataModule, VAE]:
    """Data and an untrained model, in a folder that holds nothing yet."""
    if folder.config_file.exists():
        raise ConfigError("hydra.run.dir", folder.path, "holds a run already; name another folder")
    lightning.seed_everything(config.seed, verbose=False)
    return build_data(config), build_model(config)


def evaluate(config: DictConfig, folder: RunFolder) -> float:
    """Test a finished run again, on the device that this command names; gives its test NELBO."""
    for override in HydraConfig.get().overrides.task:
        key = override.lstrip("+~").partition("=")[0]
        if not key.startswith(OF_EVALUATION):
            allowed = "trainer.*, evaluation.*, debug and data.root"
            raise ConfigError(
                key, override.partition("=")[2], f"a finished run keeps its own settings, but for {allowed}"
            )
    saved = folder.read_config()
    saved.trainer = config.trainer
    saved.data.root = config.data.root
    # the others have no part in a test, and what writes checkpoints has no place in it
    saved.callbacks = {name: node for name, node in (saved.callbacks or {}).items() if node and _draws(node)}
    before = _metrics_before(folder)
    data, model = build_data(saved), folder.read_model(saved)
    trainer = _trainer(saved, folder, [], loggers=False)
    facts = _facts(saved, trainer, model)
    # where the run was trained is the run's to say; what it is, its config says
    of_training = {name: before[name] for name in ("device", "versions") if isinstance(before.get(name), str)}
    metrics = before | facts | of_training | _test(trainer, model, data)
    model.to(trainer.strategy.root_device, torch.float32).eval()  # trainer.precision may have changed it
    metrics |= _bounds(model, data, folder, config.evaluation.k)
    folder.write_metrics(metrics)
    if config.evaluation.samples != "none":
        metrics |= _judge(model, data, folder, config.evaluation.samples)
    folder.write_metrics(metrics)
    log.info(table(metrics, folder.path))
    return float(metrics["test/nelbo"])


def _draws(callback: DictConfig) -> bool:
    return issubclass(get_class(callback._target_), FigureCallback)


def _metrics_before(folder: RunFolder) -> dict[str, Any]:
    """The figures that the run has already; refused now if they would be no table in the end."""
    metrics = folder.read_metrics()
    try:
        if metrics:
            table(metrics, folder.path)
    except KeyError as error:
        reason = f"there is no {error.args[0]} in it; delete it and evaluate again"
        raise RunFolderError(f"{folder.metrics_file}: damaged ({reason})") from error
    return metrics


def estimator_check(config: DictConfig, folder: RunFolder) -> float:
    """Hold the Monte Carlo KL of an untrained model against its value; gives the difference in standard errors."""
    data, model = _start(config, folder)
    data.prepare_data()
    data.setup()
    x, _ = next(iter(data.train_dataloader()))
    try:
        curve = kl_curve(model.encoder(x), model.prior(), torch.arange(1, 3902, 100))
    except ValueError as reason:
        raise ConfigError("latent_dim", config.latent_dim, str(reason)) from reason
    folder.write_config(config)
    render(figures.estimate_by_samples(curve), folder.figures / "estimator_check.png")
    estimate, error = curve.estimate[-1].item(), curve.error[-1].item()
    difference = (estimate - curve.value) / error
    found = {"n": int(curve.counts[-1]), "estimate": estimate, "error": error, "value": curve.value}
    folder.write_metrics(
        {f"estimator/{name}": value for name, value in found.items()} | {"estimator/method": curve.method}
    )
    log.info(estimator_table(curve, len(x), folder.path))
    return difference


def _bounds(model: VAE, data: MNISTDataModule, folder: RunFolder, k: int) -> dict[str, float]:
    """The importance-weighted bound of the test set, its figure, and the active units."""
    started = time.perf_counter()
    with fixed_noise(0, model.device):
        found = bounds_of_set(model, data.test_dataloader(), k)
    seconds = time.perf_counter() - started
    render(figures.bounds_of_images(found, k), folder.figures / "bounds.png")
    measured = summary(found, k) | {
        f"nll_iwae_{k}_seconds": seconds,
        "active_units": active_units(model.encode(data.test_images)),
    }
    return {f"test/{name}": value for name, value in measured.items()}


def _judge(model: VAE, data: MNISTDataModule, folder: RunFolder, n: int) -> dict[str, float]:
    """What a classifier says of samples and codes, and the figure of the samples closest to a training image."""
    from vae_lab import judging  # late: training has no use for it, and its metrics take a while to import

    (images, labels), (test_images, test_labels) = files.load(data.name, data.root)
    images, labels, test_images = (part.to(model.device) for part in (images, labels, test_images))
    net = judging.classifier(files.folder_of(data.name, data.root) / "classifier.pt", images, labels)
    with fixed_noise(0, model.device), torch.no_grad():
        drawn = torch.cat([model.sample(len(part)) for part in torch.arange(n).split(judging.AT_ONCE)])
        found, distances, indices = judging.samples_judged(net, drawn, test_images, images)
        training = judging.codes(model.encoder, data.training_in_order())
    _, probabilities = net.look(scale(test_images))
    found["classifier_accuracy"] = (probabilities.argmax(1).cpu() == test_labels).float().mean().item()
    test = judging.codes(model.encoder, data.test_dataloader())
    closest = distances.argsort()[:20]
    render(figures.copies(drawn[closest], scale(images[indices[closest]])), folder.figures / "copies.png")
    found |= judging.codes_judged(training, test)
    return {f"judge/{name}": value for name, value in ({"samples": n} | found).items()}


def _trainer(config: DictConfig, folder: RunFolder, extra: list[Any], loggers: bool) -> Trainer:
    callbacks = [build(node, f"callbacks.{key}") for key, node in (config.callbacks or {}).items() if node]
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
    log.info(f"{size:,} parameters on {device}, up to {length}, into {shown(folder.path)}")


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
