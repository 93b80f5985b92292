"""From a composed config to a finished run: seed, build, fit, test, report."""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from hydra.utils import get_class
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig

from vae_lab.config.build import build, build_data, build_model, check
from vae_lab.config.settings import hold_to, parts_of
from vae_lab.data import MNISTDataModule
from vae_lab.data import mnist_files as files
from vae_lab.data.binarization import scale
from vae_lab.errors import ConfigError, DiskError, Interrupted, NonFiniteError, RunFolderError, UserError
from vae_lab.evaluation.bounds import active_units, bounds_of_set, summary
from vae_lab.evaluation.kl_estimates import kl_curve
from vae_lab.figures import images as figures
from vae_lab.models.vae import VAE
from vae_lab.randomness import fixed_noise
from vae_lab.runs import resume
from vae_lab.runs.folder import RunFolder
from vae_lab.runs.output_folder import output_dir
from vae_lab.sweeps.devices import devices_of_run
from vae_lab.tasks.summary import device_name, estimator_table, facts_of, hparams_of, shown, table
from vae_lab.training import hardware as machine
from vae_lab.training.callbacks import Clock, FigureCallback, ProgressBar, render
from vae_lab.training.checkpoints import CheckpointFiles
from vae_lab.training.loggers import TensorBoard
from vae_lab.training.signals import Interruption

log = logging.getLogger(__name__)

# what may be said anew of a finished run
OF_EVALUATION = ("task", "run_dir", "trainer", "evaluation", "debug", "data.root", "hydra")


def run(config: DictConfig, anew: bool = False) -> float:
    """Do what ``task`` says; gives the figure that a sweep compares.

    Args:
        config: as composed.
        anew: without what a run that did not finish left behind in this folder.

    Raises:
        UserError: for a mistake that the user can mend; a folder that holds nothing yet is taken away.
    """
    tasks = {"train": train, "evaluate": evaluate, "estimator_check": estimator_check}
    with _started(config) as written:
        folder = written
        if not _rank():
            # asked again: a multirun and an explicit hydra.run.dir pass by the check inside hydra.run.dir
            where = output_dir(config.task, config.run_dir, config.sweep_dir, config.resume, str(written.path))
            folder = RunFolder(where)
        with _alone(folder):
            if anew:
                written.clear()
            if config.resume:
                return go_on(resume.config_of(folder, config, HydraConfig.get().overrides.task), folder)
            return tasks[config.task](config, folder)


@contextmanager
def _started(config: DictConfig) -> Iterator[RunFolder]:
    """Around the work of a process, the folder that Hydra made for it inside."""
    written = RunFolder(HydraConfig.get().runtime.output_dir)
    _quiet_lightning()
    machine.tune()
    try:
        check(config)
        yield written
    except UserError:
        if _rank():
            sys.exit(2)  # the first process says why
        written.discard_if_empty(with_folder=config.task != "evaluate" and not config.resume)
        raise
    except OSError as error:
        raise DiskError(f"{error.filename or written.path}: {error.strerror}") from error


def go_on(config: DictConfig, folder: RunFolder) -> float:
    """Continue a run that was cut off, from its newest checkpoint, or from the beginning where it has none."""
    checkpoint = resume.checkpoint_of(folder)
    if checkpoint is None:
        log.info("%s holds no checkpoint yet: from the beginning", shown(folder.path))
        folder.clear()
    return train(config, folder, checkpoint)


def carry_on(config: DictConfig) -> float:
    """Continue the run of a sweep that was cut off, in its folder."""
    with _started(config) as folder, _alone(folder):
        return go_on(config, folder)


def _alone(folder: RunFolder) -> AbstractContextManager[None]:
    """The folder is the first process's of those that work on the run together."""
    return nullcontext() if _rank() else folder.alone()


def _quiet_lightning() -> None:
    """Leave out what says nothing to a person who runs this program, and what the first process has said."""
    if _rank():
        logging.getLogger().setLevel(logging.ERROR)
    # its own handler prints beside Hydra's, and the run announces itself
    logging.getLogger("lightning").handlers.clear()
    for library in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
    # about its own use of torch, a validation that is not wanted, and logging by step: ours is by epoch
    warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
    warnings.filterwarnings("ignore", message=".*Total length of `list` across ranks is zero.*")
    warnings.filterwarnings("ignore", message=".*sync_dist=True.*")  # the model's figures are sums over all processes
    warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")  # a run that goes on
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*`dataloader_iter`.*")  # training_step minds what they warn of


def _rank() -> int:
    """Of this process among those that work on the run; Lightning knows it before there is a Trainer."""
    return int(rank_zero_only.rank)  # type: ignore[attr-defined]


def train(config: DictConfig, folder: RunFolder, checkpoint: Path | None = None) -> float:
    """Train, test the best checkpoint, draw, report; gives the NELBO that runs are chosen by.

    Args:
        config: of the run.
        folder: of the run, new, or that of the checkpoint.
        checkpoint: where a run that was cut off goes on.
    """
    if not (config.callbacks or {}).get("best"):
        raise ConfigError("callbacks.best", None, "the best checkpoint is what a run is tested with and leaves")
    data, model = _start(config, folder, is_new=checkpoint is None)
    timer, interruption = Clock(), Interruption(model)
    try:
        with interruption.listening():
            trainer = _trainer(config, folder, [timer, interruption], loggers=True)
            data.prepare_data()
            if checkpoint is None:
                _write_start(config, folder, trainer)
            _announce(config, model, trainer, folder, checkpoint)
            _make_ready(config, model, data, trainer)
            _fit(trainer, model, data, folder, checkpoint)
            return _conclude(config, folder, trainer, model, data, timer)
    except Interrupted as stop:
        single = HydraConfig.get().mode != RunMode.MULTIRUN  # a sweep says itself how it goes on
        again = f"; to go on: python -m vae_lab resume={shown(folder.path)}" if single else ""
        log.info("stopped %s%s", interruption.moment, again)
        sys.exit(128 + stop.number)  # as a shell counts signals


def _write_start(config: DictConfig, folder: RunFolder, trainer: Trainer) -> None:
    """The config, as a file that claims the folder and as text of TensorBoard."""
    if trainer.is_global_zero:
        folder.write_config(config)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            logger.log_config(folder.config_file.read_text())


def _make_ready(config: DictConfig, model: VAE, data: MNISTDataModule, trainer: Trainer) -> None:
    """Start the decoder at the data's mean and compile the loss, where the config says so."""
    if config.start_at_data_mean:
        data.trainer = trainer
        data.setup()
        model.decoder.start_at(data.mean_image().cpu())
    if config.get("compile"):
        # on a GPU the compiled steps are captured as graphs, so that small nets do not wait for kernels to start
        torch.compiler.reset()  # a sweep compiles more models in one process than the compiler keeps apart
        graphs = trainer.strategy.root_device.type == "cuda"
        model.loss.compile(mode="reduce-overhead" if graphs else None)


def _conclude(
    config: DictConfig, folder: RunFolder, trainer: Trainer, model: VAE, data: MNISTDataModule, timer: Clock
) -> float:
    """Test the best checkpoint of a training that ended, draw, report."""
    seconds = timer.time_elapsed("train") - timer.validation
    facts = {
        **facts_of(config, trainer, model),
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
    if trainer.is_global_zero:
        folder.write_metrics(metrics)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoard):
            names = ("test/nelbo", "test/kl", "test/reconstruction", "best/nelbo")
            results = {name: metrics[name] for name in names}
            logger.log_results(hparams_of(config, parts_of(config)), results, len(model.history))
    log.info(table(metrics, folder.path))
    return float(metrics["best/nelbo"])


def _start(config: DictConfig, folder: RunFolder, is_new: bool = True) -> tuple[MNISTDataModule, VAE]:
    """Data and an untrained model, in a folder that holds nothing yet where the run is new."""
    if is_new and folder.config_file.exists() and not _rank():
        reason = f"holds a run already; name another folder, or go on with it: resume={folder.path}"
        raise ConfigError("hydra.run.dir", folder.path, reason)
    if config.get("sweep_dir") and HydraConfig.get().mode != RunMode.MULTIRUN:
        raise ConfigError("sweep_dir", config.sweep_dir, "is the folder of a sweep, and this is a single run; add -m")
    lightning.seed_everything(config.seed, verbose=False)
    data, model = build_data(config), build_model(config)
    if _rank():  # further processes draw other noise for their images
        torch.manual_seed(config.seed + 1_000_003 * _rank())
    return data, model


def evaluate(config: DictConfig, folder: RunFolder) -> float:
    """Test a finished run again, on the device that this command names; gives its test NELBO."""
    allowed = "a finished run keeps its own settings, but for trainer.*, evaluation.*, debug and data.root"
    of_sweep = ("sweep_dir",) if HydraConfig.get().mode == RunMode.MULTIRUN else ()
    hold_to(HydraConfig.get().overrides.task, OF_EVALUATION + of_sweep, allowed)
    saved = folder.read_config()
    saved.trainer = config.trainer
    saved.data.root = config.data.root
    # the others have no part in a test, and what writes checkpoints has no place in it
    saved.callbacks = {name: node for name, node in (saved.callbacks or {}).items() if node and _draws(node)}
    before = _metrics_before(folder)
    data, model = build_data(saved), folder.read_model(saved)
    trainer = _trainer(saved, folder, [], loggers=False)
    if trainer.world_size > 1:
        raise ConfigError("trainer.devices", config.trainer.devices, "a finished run is looked at on one device; use 1")
    facts = facts_of(saved, trainer, model)
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
    except (KeyError, ValueError, TypeError) as error:
        wrong = f"there is no {error.args[0]} in it" if isinstance(error, KeyError) else str(error)
        raise RunFolderError(f"{folder.metrics_file}: damaged ({wrong}; delete it and evaluate again)") from error
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

    (images, labels), (test_images, test_labels) = files.load_once(data.name, data.root)
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
        plugins=[CheckpointFiles()],
        devices=devices_of_run(config.trainer),
        enable_progress_bar=on_terminal,
        gradient_clip_val=None,  # the model has it: the trainer clips only where it takes the steps itself
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    assert isinstance(trainer, Trainer)
    return trainer


def _fit(trainer: Trainer, model: VAE, data: MNISTDataModule, folder: RunFolder, checkpoint: Path | None) -> None:
    """Train; says what is left on disk where that ends early."""
    try:
        trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    except (NonFiniteError, DiskError) as error:
        good = next((file for file in (folder.last, folder.best) if file.exists()), None)
        kept = f"; the last good checkpoint is {good}" if good else ""
        raise type(error)(f"{error}{kept}") from error


def _test(trainer: Trainer, model: VAE, data: MNISTDataModule) -> dict[str, float]:
    trainer.test(model, data, verbose=False)
    return {k: v.item() for k, v in trainer.callback_metrics.items() if k.startswith("test/")}


def _announce(config: DictConfig, model: VAE, trainer: Trainer, folder: RunFolder, checkpoint: Path | None) -> None:
    parts = parts_of(config)
    named = ("data", "encoder", "decoder", "likelihood", "prior", "loss")
    log.info("  ".join(f"{part}={parts[part]}" for part in named))
    size = sum(p.numel() for p in model.parameters() if p.requires_grad)
    device = device_name(trainer)
    steps = trainer.max_steps
    length = f"{trainer.max_epochs} epochs" if steps < 0 else f"{steps:,} steps"
    log.info(f"{size:,} parameters on {device}, up to {length}, into {shown(folder.path)}")
    if checkpoint:
        log.info("going on from %s", shown(checkpoint))
