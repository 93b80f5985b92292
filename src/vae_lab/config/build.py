"""From a checked config to objects."""

import math
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig

from vae_lab.annotations import ImageShape
from vae_lab.config.model_size import LARGEST_MODEL, SizeLimit
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, UserError
from vae_lab.losses import NoClosedFormError
from vae_lab.models import Model
from vae_lab.training.module import Training

LARGEST_DECODED = 2_000_000 * 784  # pixel values decoded in one step: 6 GB of logits


def build(node: DictConfig, key: str, **arguments: Any) -> Any:
    """Make one part; an objection of its constructor becomes one line.

    Args:
        node: the part's config, with its ``_target_``.
        key: where it stands in the whole config, for messages.
        arguments: further arguments of the constructor, by name.

    Raises:
        ConfigError: names the key.
    """
    try:
        return instantiate(node, _convert_="all", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, UserError):
            raise cause from error
        if isinstance(cause, MisconfigurationException | ValueError | TypeError | RuntimeError | OverflowError):
            reason = " ".join(str(cause).split())
            if "backend" in reason:
                reason += " Use trainer.accelerator=cpu, or auto"
                raise ConfigError("trainer.accelerator", node.accelerator, reason) from error
            raise ConfigError(key, str(node.get("_target_")).rpartition(".")[2], reason) from error
        raise


def build_data(config: DictConfig) -> ImageDataModule:
    """The data module that a config describes; no file is read yet.

    Args:
        config: of the run.

    Raises:
        ConfigError: if the sizes do not fit the images, or would take too much memory with them.
    """
    data = build(config.data, "data")
    assert isinstance(data, ImageDataModule)
    check_memory(config, data)
    return data


def check_memory(config: DictConfig, data: ImageDataModule) -> None:
    """Refuse a config that decodes too many pixel values in one step.

    Args:
        config: of the run.
        data: its data module, which knows the shape and the number of images.

    Raises:
        ConfigError: names ``loss.samples``.
    """
    samples, at_most = config.loss.get("samples", 1), LARGEST_DECODED // math.prod(data.image_shape)
    for name in ("batch_size", "eval_batch_size"):
        images = min(config.data.get(name, 1), data.train_size)
        if samples * images > at_most:
            decoded = f"{samples * images:,} images are decoded at once, at most {at_most:,}"
            raise ConfigError("loss.samples", samples, f"with data.{name}={images} {decoded}")


def image_shape_of(config: DictConfig, data: ImageDataModule) -> ImageShape:
    """The shape (channels, height, width) of the images of a run, which its data say.

    Args:
        config: of the run.
        data: its data module.

    Raises:
        ConfigError: if the config names another shape.
    """
    named = config.get("image_shape")
    if named is not None and tuple(named) != tuple(data.image_shape):
        reason = f"the images of data.name={data.name} are {list(data.image_shape)}; leave it out"
        raise ConfigError("image_shape", list(named), reason)
    return data.image_shape


def build_model(config: DictConfig, image_shape: ImageShape, at_most: int = LARGEST_MODEL) -> Model:
    """The model that a config describes, untrained.

    Args:
        config: of the run.
        image_shape: (channels, height, width) of its images.
        at_most: bytes of the tensors that it is made of.

    Raises:
        ConfigError: if the parts do not fit together.
        ModelSizeError: before the memory is taken, if they are too large.
    """
    with SizeLimit(at_most):
        encoder, decoder = (build(config[key], key, image_shape=list(image_shape)) for key in ("encoder", "decoder"))
        prior = build(config.prior, "prior")
        make = build(config.model, "model", _partial_=True)
        try:
            model = make(encoder=encoder, decoder=decoder, prior=prior)
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            reason = f"does not fit the other parts ({error}); latent_dim and the like stand once, at the top"
            raise ConfigError("encoder", type(encoder).__name__, reason) from error
    assert isinstance(model, Model)
    return model


def build_training(config: DictConfig, model: Model) -> Training:
    """What Lightning trains: the model with the loss, the optimiser and the schedule of a config.

    Args:
        config: of the run.
        model: its model.

    Raises:
        ConfigError: if the loss cannot be computed for this model.
    """
    parts = {key: build(config[key], key) for key in ("loss", "optimizer", "scheduler") if config[key]}
    try:
        return Training(model, **parts, gradient_clip_val=config.trainer.get("gradient_clip_val"))
    except ValueError as error:
        remedy = "; use loss=sgvb" if isinstance(error, NoClosedFormError) else ""
        raise ConfigError("loss", type(parts["loss"]).__name__.lower(), f"{error}{remedy}") from error
