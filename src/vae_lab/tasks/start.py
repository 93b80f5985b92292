"""What a run begins with: its data, an untrained model, and an empty folder."""

import copy
import logging
import os

import lightning
import torch
from lightning import Trainer
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.build import build_data, build_model, build_training, image_shape_of
from vae_lab.config.saved import read_config
from vae_lab.config.trust import packages_of
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.runs.folder import RunFolder
from vae_lab.runs.resume import next_step
from vae_lab.tasks.process import in_sweep, rank
from vae_lab.training import hardware
from vae_lab.training.module import Training

log = logging.getLogger(__name__)


def start(config: DictConfig, folder: RunFolder, is_new: bool = True) -> tuple[ImageDataModule, Training]:
    """Seed, and build data and an untrained model; what is found on the way is recorded in the config.

    Args:
        config: config of the run; gets the images' shape and the library that multiplies matrices.
        folder: folder of the run.
        is_new: whether the folder must not hold a run yet.

    Raises:
        ConfigError: if the folder holds a run, or the parts do not fit together.
    """
    if is_new and folder.config_file.exists() and not rank():
        step = next_step(folder)
        reason = "holds a run already; name another folder" + (f", or go on with that run: {step}" if step else "")
        raise ConfigError("hydra.run.dir", folder.path, reason)
    if config.get("sweep_dir") and not in_sweep():
        raise ConfigError("sweep_dir", config.sweep_dir, "is the folder of a sweep, and this is a single run; add -m")
    if config.get("run_dir") and is_new:
        reason = f"task={config.task} makes a run of its own; leave it out, or look at that run with task=evaluate"
        raise ConfigError("run_dir", config.run_dir, reason)
    hardware.set_threads(config.get("threads", "auto"))
    lightning.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    image_shape = image_shape_of(config, data)
    training = build_training(config, build_model(config, image_shape))
    config.image_shape = list(image_shape)
    config.trust = []  # whoever reads the run says what they trust
    config.data.update(data.recorded)
    if rank():  # further processes draw other noise for their images, and multiply as the first one chose
        torch.manual_seed(config.seed + 1_000_003 * rank())
        config.matmul = read_config(folder, packages_of(OmegaConf.to_container(config))).matmul
    config.matmul = set_matmul(config, training.model)
    return data, training


def choose_threads(config: DictConfig, training: Training, trainer: Trainer) -> None:
    """Compute on as many threads as are quickest now, and record them, unless the config or OMP_NUM_THREADS says more.

    Args:
        config: config of the run; ``threads=auto`` becomes a number.
        training: its module, untrained and on the CPU.
        trainer: its Trainer. On a GPU, and for several processes, nothing is chosen.
    """
    on_cpu = trainer.strategy.root_device.type == "cpu" and trainer.world_size == 1
    if config.get("threads") != "auto" or "OMP_NUM_THREADS" in os.environ or not on_cpu:
        return
    model, loss = copy.deepcopy(training.model), training.loss  # a copy: steps may change the state of a layer
    x = model.cast(torch.zeros(_batch_size(config), *model.image_shape))
    with fixed_noise(0, model.device):
        count = hardware.quickest_threads(lambda: loss(model, x, stage=training.stages[0]).loss.backward())
    torch.set_num_threads(count)
    config.threads = count


def _batch_size(config: DictConfig) -> int:
    """Number of images of a step; an own data module may leave it at what it is by default."""
    return int(config.data.get("batch_size", 100))


def set_matmul(config: DictConfig, model: Model) -> hardware.Matmul:
    """Choose the library that multiplies matrices, which for ``auto`` is the quicker one; returns it.

    Args:
        config: config of the run, which names the library.
        model: model whose products are measured.
    """
    measured = config.matmul == "auto"
    library = hardware.quicker_library(model, _batch_size(config)) if measured else config.matmul
    used = hardware.multiply_by(library)
    if used != library and not torch.cuda.is_available():
        log.warning("matmul=%s would not keep full precision on this processor; torch's own choice is used", library)
    return used
