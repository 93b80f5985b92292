"""What a run begins with: its data, an untrained model, and a folder that holds nothing yet."""

import logging

import lightning
import torch
from omegaconf import DictConfig

from vae_lab.config.build import build_data, build_model, build_training, image_shape_of
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError
from vae_lab.models import Model
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.process import in_sweep, rank
from vae_lab.training import hardware
from vae_lab.training.module import Training

log = logging.getLogger(__name__)


def start(config: DictConfig, folder: RunFolder, is_new: bool = True) -> tuple[ImageDataModule, Training]:
    """Seed, and build data and an untrained model; what was found out on the way is recorded in the config.

    Args:
        config: config of the run; gets the images' shape and the library that multiplies matrices.
        folder: folder of the run.
        is_new: whether the folder must not hold a run yet.

    Raises:
        ConfigError: if the folder holds a run, or the parts do not fit together.
    """
    if is_new and folder.config_file.exists() and not rank():
        reason = f"holds a run already; name another folder, or go on with it: resume={folder.path}"
        raise ConfigError("hydra.run.dir", folder.path, reason)
    if config.get("sweep_dir") and not in_sweep():
        raise ConfigError("sweep_dir", config.sweep_dir, "is the folder of a sweep, and this is a single run; add -m")
    lightning.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    image_shape = image_shape_of(config, data)
    training = build_training(config, build_model(config, image_shape))
    config.image_shape = list(image_shape)
    config.matmul = set_matmul(config, training.model)
    if rank():  # further processes draw other noise for their images
        torch.manual_seed(config.seed + 1_000_003 * rank())
    return data, training


def set_matmul(config: DictConfig, model: Model) -> hardware.Matmul:
    """Let the library that the config names multiply matrices, or where it says auto the quicker one; gives it.

    Args:
        config: config of the run; one from before the choice was recorded means oneDNN.
        model: model whose products are measured.
    """
    asked = config.get("matmul", "onednn")
    library = hardware.quicker_library(model, config.data.batch_size) if asked == "auto" else asked
    used = hardware.multiply_by(library)
    if used != library:
        log.warning("matmul=%s would not keep full precision on this processor; torch's own choice is used", library)
    return used
