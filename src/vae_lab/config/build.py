"""From a checked config to objects."""

import math
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig, OmegaConf

from vae_lab.annotations import ImageShape
from vae_lab.config.model_size import LARGEST_MODEL, SizeLimit
from vae_lab.config.settings import shown
from vae_lab.config.targets import PARTIAL, parts_of_model, takes_image_shape
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, UserError, is_ours, raised_by, to_install
from vae_lab.likelihoods import ContinuousBernoulli
from vae_lab.losses import NoClosedFormError
from vae_lab.models import Model
from vae_lab.models.parts import PartError
from vae_lab.training.module import Training

GREY_LEVELS = 256
LARGEST_DECODED = 1_568_000_000  # pixel values decoded in one step: 6 GB of logits


def build(node: DictConfig, key: str, **arguments: Any) -> Any:
    """Make one part; an error of its constructor becomes one line.

    Args:
        node: config of the part, with its ``_target_``.
        key: key of the part in the whole config, for messages.
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
        target = str(node.get("_target_"))
        kind = target.rpartition(".")[2]
        if isinstance(cause, ImportError):
            raise ConfigError(key, kind, to_install(cause)) from error
        if isinstance(cause, MisconfigurationException | ValueError | TypeError | RuntimeError | OverflowError):
            reason = " ".join(str(cause).split())
            if "backend" in reason:
                reason += " Use trainer.accelerator=cpu, or auto"
                raise ConfigError("trainer.accelerator", node.accelerator, reason) from error
            raise ConfigError(key, kind, reason) from error
        if cause is not None and not is_ours(target):  # a bug of theirs, in one line that says where
            raise ConfigError(key, kind, f"{raised_by(cause, target)} when it was made") from error
        raise


def build_data(config: DictConfig) -> ImageDataModule:
    """The data module that a config describes; no file is read yet.

    Args:
        config: config of the run.

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
        config: config of the run.
        data: data module of the run, with the shape and the number of images.

    Raises:
        ConfigError: names ``loss.samples``.
    """
    samples, numbers = config.loss.get("samples", 1), _outputs_of(config) * math.prod(data.image_shape)
    at_most = LARGEST_DECODED // numbers
    for name in ("batch_size", "eval_batch_size"):
        images = min(config.data.get(name, 1), data.train_size)
        if samples * images > at_most:
            decoded = f"{samples * images:,} images are decoded at once, at most {at_most:,}"
            if images > at_most:
                raise ConfigError(f"data.{name}", images, f"{decoded} of {numbers:,} outputs each")
            raise ConfigError("loss.samples", samples, f"with data.{name}={images} {decoded}")


def _outputs_of(config: DictConfig) -> int:
    """Number of outputs that the likelihood of a config needs for each pixel and channel."""
    return build(config.likelihood, "likelihood").outputs if config.get("likelihood") else 1


def image_shape_of(config: DictConfig, data: ImageDataModule) -> ImageShape:
    """The shape (channels, height, width) of the images of a run, which its data say.

    Args:
        config: config of the run.
        data: data module of the run.

    Raises:
        ConfigError: if the config names another shape.
    """
    named = config.get("image_shape")
    if named is not None and tuple(named) != tuple(data.image_shape):
        reason = f"the images of {data.name} are {list(data.image_shape)}; leave it out"
        raise ConfigError("image_shape", list(named), reason)
    return data.image_shape


def build_model(config: DictConfig, image_shape: ImageShape, at_most: int = LARGEST_MODEL) -> Model:
    """The model that a config describes, untrained.

    Args:
        config: config of the run.
        image_shape: (channels, height, width) of its images.
        at_most: largest size of its tensors together, in bytes.

    Raises:
        ConfigError: if the parts do not fit together.
        ModelSizeError: before the memory is taken, if they are too large.
    """
    with SizeLimit(at_most):
        parts = {
            name: _build_part(config, name, image_shape)
            for name in parts_of_model(config.model._target_)
            if config.get(name)
        }
        shape = _shape_for(config.model._target_, image_shape)
        make = build(config.model, "model", _partial_=True, **shape)
        try:
            model = make(**parts)
        except PartError as error:
            raise ConfigError(error.part, type(parts[error.part]).__name__, str(error)) from error
        except (ValueError, RuntimeError, TypeError, AttributeError) as error:
            if shape:  # its networks are its own, and so are the sizes that do not fit
                raise ConfigError("model", shown("model._target_", config.model._target_), str(error)) from error
            reason = f"does not fit the other parts ({error}); set latent_dim and the like once, at the top"
            name, part = next(iter(parts.items()))
            raise ConfigError(name, type(part).__name__, reason) from error
    assert isinstance(model, Model)
    _check_pixels(config, model)
    return model


def _check_pixels(config: DictConfig, model: Model) -> None:
    """Refuse pixels that the model's likelihood has no probability for."""
    binarization, likelihood = config.data.get("binarization"), model.likelihood_of_pixels
    if binarization == "none" and model.needs_bits:
        reason = "the patches of decoder.patch above 1 have pixels that are 0 or 1; use dynamic, or decoder.patch=1"
        raise ConfigError("data.binarization", "none", reason)
    if binarization == "none" and model.levels not in (None, GREY_LEVELS):
        reason = f"the pixels of data.binarization=none have {GREY_LEVELS} levels; use that, or dynamic for two"
        raise ConfigError("likelihood.levels", model.levels, reason)
    if binarization not in (None, "none") and isinstance(likelihood, ContinuousBernoulli):
        reason = "likelihood=continuous_bernoulli is a density without a limit at pixels that are 0 or 1; use none"
        raise ConfigError("data.binarization", binarization, reason)


def _build_part(config: DictConfig, name: str, image_shape: ImageShape) -> Any:
    """A part of a model; one whose constructor takes ``image_shape`` gets that of the data."""
    return build(config[name], name, **_shape_for(config[name]._target_, image_shape))


def _shape_for(target: str, image_shape: ImageShape) -> dict[str, Any]:
    """The argument ``image_shape`` for a constructor that takes it."""
    return {"image_shape": list(image_shape)} if takes_image_shape(target) else {}


def build_training(config: DictConfig, model: Model) -> Training:
    """What Lightning trains: the model with the loss, the optimiser and the schedule of a config.

    Args:
        config: config of the run.
        model: model of the run.

    Raises:
        ConfigError: if the loss cannot be computed for this model.
    """
    parts = {"loss": build(config.loss, "loss")}
    parts |= {key: build(config[key], key, _partial_=True) for key in PARTIAL if config.get(key)}
    ema = OmegaConf.select(config, "training.ema") or 0.0  # a run folder of an earlier version has none
    try:
        clip, graphs = config.trainer.get("gradient_clip_val"), config.trainer.get("graphs", "auto")
        return Training(model, **parts, gradient_clip_val=clip, ema=ema, graphs=graphs)
    except ValueError as error:
        remedy = "; use loss=sgvb" if isinstance(error, NoClosedFormError) else ""
        raise ConfigError("loss", type(parts["loss"]).__name__.lower(), f"{error}{remedy}") from error
