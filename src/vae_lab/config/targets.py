"""Which class a config may name at which place."""

import importlib
import inspect
import re
from types import FunctionType
from typing import Any

from hydra.utils import get_object
from lightning import Callback
from lightning.pytorch.loggers import Logger

from vae_lab.config.settings import NESTED
from vae_lab.data import ImageDataModule
from vae_lab.decoders import Decoder
from vae_lab.discriminators import Discriminator
from vae_lab.encoders import Encoder
from vae_lab.errors import ConfigError
from vae_lab.inference import Inference
from vae_lab.likelihoods import Likelihood
from vae_lab.losses import Loss
from vae_lab.models import Model
from vae_lab.posteriors import Posterior
from vae_lab.priors import Prior

# The module that offers the classes of a group, and their kind. A run of other classes could be trained, but nobody
# could load it: a run folder is data.
OUR_TARGETS: dict[str, tuple[str, type]] = {
    "data": ("vae_lab.data", ImageDataModule),
    "model": ("vae_lab.models", Model),
    "encoder": ("vae_lab.encoders", Encoder),
    "posterior": ("vae_lab.posteriors", Posterior),
    "decoder": ("vae_lab.decoders", Decoder),
    "likelihood": ("vae_lab.likelihoods", Likelihood),
    "prior": ("vae_lab.priors", Prior),
    "discriminator": ("vae_lab.discriminators", Discriminator),
    "inference": ("vae_lab.inference", Inference),
    "loss": ("vae_lab.losses", Loss),
    "scheduler": ("vae_lab.training.schedulers", FunctionType),
    "callbacks": ("vae_lab.training.callbacks", Callback),
    "logger": ("vae_lab.training.loggers", Logger),
}

# Other classes that a group may name; none of them is given a path to write to.
OTHER_TARGETS = {
    "optimizer": {"torch.optim.Adam", "torch.optim.AdamW"},
    "trainer": {"lightning.Trainer"},
    "callbacks": {
        "lightning.pytorch.callbacks.EarlyStopping",
        "lightning.pytorch.callbacks.ModelSummary",
        "lightning.pytorch.callbacks.TQDMProgressBar",
        "vae_lab.sweeps.search.Pruning",
    },
}

PARTIAL = ("optimizer", "scheduler")  # built later, with further arguments

# Groups of the parts that models are made of; each kind of model takes some of them.
OF_MODELS = ("encoder", "posterior", "decoder", "likelihood", "prior", "discriminator", "inference")


def parts_of_model(target: str) -> list[str]:
    """The groups that a model takes its parts from: the arguments of its constructor that have their names.

    >>> parts_of_model("vae_lab.models.VAE")
    ['encoder', 'decoder', 'prior', 'inference']
    """
    return [name for name in inspect.signature(get_object(target)).parameters if name in OUR_TARGETS]


def with_default(target: str) -> list[str]:
    """Those of them that a config may lack, as one of an earlier version does: their arguments have a default.

    >>> with_default("vae_lab.models.VAE")
    ['inference']
    """
    parameters = inspect.signature(get_object(target)).parameters
    return [name for name in parts_of_model(target) if parameters[name].default is not inspect.Parameter.empty]


def takes_image_shape(target: str) -> bool:
    """Whether a constructor takes the shape of the data's images, which the program gives to it."""
    return "image_shape" in inspect.signature(get_object(target)).parameters


def check_targets(config: Any, key: str = "") -> None:
    """Check every ``_target_`` against the classes that are allowed at its place.

    The name as written and the object that it leads to must both be allowed: ``vae_lab.tasks.train.os.system`` begins
    with our name and is not our function, and ``vae_lab.cli.main`` is our function and not a part.

    Args:
        config: config as plain values.
        key: key of the config within a larger one, with dots.

    Raises:
        ConfigError: names the key and the target.
    """
    if isinstance(config, list):
        for index, child in enumerate(config):
            check_targets(child, f"{key}[{index}]")
    elif isinstance(config, dict):
        group = _group(key)
        for name, child in config.items():
            path = f"{key}.{name}".lstrip(".")
            if name == "_target_" and not (group and _is_allowed(group, child)):
                raise ConfigError(path, child, "only vae_lab's own parts are allowed here")
            if name.startswith("_") and name not in ("_target_", "_partial_"):
                raise ConfigError(path, child, "is not used here")
            if name == "_partial_" and (child is not True or group not in PARTIAL):
                raise ConfigError(path, child, f"is allowed only in {' and '.join(PARTIAL)}, as true")
            check_targets(child, path)


def _group(key: str) -> str | None:
    """The group whose classes are allowed at a key; None where none are."""
    if key in NESTED:
        return NESTED[key]
    group, _, name = key.partition(".")
    if group in ("callbacks", "logger"):
        return group if name and not re.search(r"[.\[]", name) else None
    return None if name else group


def _is_allowed(group: str, target: Any) -> bool:
    if not isinstance(target, str):
        return False
    if target in OTHER_TARGETS.get(group, ()):
        return True
    offered_by, kind = OUR_TARGETS.get(group, (None, type))
    module, _, name = target.rpartition(".")
    if module != offered_by or name.startswith("_"):
        return False
    offering = importlib.import_module(module)
    found = getattr(offering, name, None)
    origin = str(getattr(found, "__module__", ""))
    is_listed = name in getattr(offering, "__all__", ()) and origin.startswith("vae_lab.")
    if origin != module and not is_listed:
        return False  # merely imported there
    if not isinstance(found, type):
        return isinstance(found, kind)
    # a base class cannot do the work
    return issubclass(found, kind) and found is not kind and not inspect.isabstract(found)
