"""Which class a config may name at which place."""

import difflib
import importlib
import inspect
import re
from collections.abc import Iterator
from types import FunctionType
from typing import Any, NamedTuple

from hydra.utils import get_object
from lightning import Callback, LightningDataModule, Trainer
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from vae_lab.config.settings import NESTED
from vae_lab.config.trust import Trust, check_names, check_place, needs_no_trust
from vae_lab.data import ImageDataModule
from vae_lab.decoders import Decoder
from vae_lab.discriminators import Discriminator
from vae_lab.encoders import Encoder
from vae_lab.errors import ConfigError, is_ours, reason_of, to_install
from vae_lab.inference import Inference
from vae_lab.likelihoods import Likelihood
from vae_lab.losses import Loss
from vae_lab.models import Model
from vae_lab.posteriors import Posterior
from vae_lab.priors import Prior

# The module that offers vae_lab's own classes of a group, and their kind.
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

# What a class of another package must be at its place.
KINDS: dict[str, type] = {
    **{group: kind for group, (_, kind) in OUR_TARGETS.items()},
    "optimizer": Optimizer,
    "scheduler": LRScheduler,
    "trainer": Trainer,
}
ALSO = {"scheduler": ", or a function of (optimizer, total_steps) that makes one"}
NOT_ENOUGH = (
    "; a LightningDataModule alone does not say the shape, number and labels of its images, nor gives the test images "
    "that figures and evaluation need; in Python, vae_lab.Training trains with it"
)
# vae_lab's own classes that no module offers
APART = {"callbacks": {"vae_lab.sweeps.search.Pruning"}}

NOT_A_PART = "only vae_lab's own parts are allowed here"
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


def arguments_of(found: Any) -> dict[str, inspect.Parameter] | None:
    """The arguments by name that a class or a function takes; None where it may take any.

    Where a class takes ``**options``, those of the class that it is derived from are among them.
    """
    taken: dict[str, inspect.Parameter] = {}
    for kind in inspect.getmro(found) if inspect.isclass(found) else (found,):
        if inspect.isclass(kind) and "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(kind).parameters
        taken = dict(parameters) | taken
        if not any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            return taken
    return None


def takes_image_shape(target: str) -> bool:
    """Whether a constructor takes the shape of the data's images, which the program gives to it."""
    return "image_shape" in inspect.signature(get_object(target)).parameters


class Place(NamedTuple):
    """A node of a config that names a class.

    Args:
        key: its key, with dots.
        target: what it names.
        group: the group whose classes belong there; None inside a part.
        is_inside: whether it lies inside a part of another package, which says itself what it takes.
    """

    key: str
    target: Any
    group: str | None
    is_inside: bool


def check_targets(config: Any, trust: Trust | None = None) -> None:
    """Check every ``_target_`` against the classes that are allowed at its place.

    A person's own command may name any class of the right kind. A run folder may name vae_lab's parts, what
    ``config.trust`` lists, and packages that its reader trusts; all names are looked at before anything is imported.

    The name as written and the object that it leads to must both be allowed: ``vae_lab.tasks.train.os.system`` begins
    with our name and is not our function, and ``vae_lab.cli.main`` is our function and not a part.

    Args:
        config: config as plain values.
        trust: what the reader of a run folder trusts; None for the config of a person's own command.

    Raises:
        ConfigError: names the key and the target.
    """
    places = list(_places(config))
    if trust is not None:
        check_names(config, trust)
    for place in places:
        _check_place(place, trust)


def _places(config: Any, key: str = "", is_inside: bool = False) -> Iterator[Place]:
    """Every node that names a class.

    Raises:
        ConfigError: for a key by which Hydra would do something else with a node than to build it.
    """
    if isinstance(config, list):
        for index, child in enumerate(config):
            yield from _places(child, f"{key}[{index}]", is_inside)
    elif isinstance(config, dict):
        group = _group(key)
        is_part = group is None and is_inside
        for name, value in ((str(name), value) for name, value in config.items()):
            path = f"{key}.{name}".lstrip(".")
            if name.startswith("_") and name not in ("_target_", "_partial_"):
                raise ConfigError(path, value, "is not used here")
            if name == "_partial_" and (value is not True or not (is_part or group in PARTIAL)):
                raise ConfigError(path, value, f"is allowed only in {' and '.join(PARTIAL)}, as true")
        if "_target_" in config:
            yield Place(f"{key}._target_", config["_target_"], group, is_part)
            is_inside = not needs_no_trust(key, str(config["_target_"]))
        for name, child in config.items():
            yield from _places(child, f"{key}.{name}".lstrip("."), is_inside)


def _check_place(place: Place, trust: Trust | None) -> None:
    """Refuse a class that does not belong at its place."""
    key, target, group, is_inside = place
    if not isinstance(target, str) or not (is_inside or group in KINDS):
        raise ConfigError(key, target, NOT_A_PART)
    if is_ours(target):
        if not any(_is_offered(of, target) for of in (OUR_TARGETS if is_inside else [group])):
            raise ConfigError(key, target, NOT_A_PART)
        return
    is_trusted = trust is not None and trust.covers(target)
    if trust is not None and is_trusted:
        check_place(target, trust)
    found = find(key, target)
    if group is not None:
        _check_kind(key, target, found, group)
    if trust is not None and is_trusted:
        _check_origin(key, target, found, trust)


def _check_origin(key: str, target: str, found: Any, trust: Trust) -> None:
    """Refuse what a trusted package has merely imported: ``mylab.Popen`` may be that of another package."""
    origin = str(getattr(found, "__module__", ""))
    if not isinstance(found, type | FunctionType) or not trust.covers(origin):
        reason = f"is defined in {origin or 'no module'}; name it there, and trust the package that has it"
        raise ConfigError(key, target, reason)
    if _group(key.removesuffix("._target_")) is None and not isinstance(found, type):
        raise ConfigError(key, target, "must be a class")


def find(key: str, target: str) -> Any:
    """What a dotted name leads to: an attribute of a module, and nothing behind that.

    Args:
        key: key of the name, for messages.
        target: the name.

    Raises:
        ConfigError: if there is no such module or attribute, or the module does not import.
    """
    module, _, name = target.rpartition(".")
    if not module:
        raise ConfigError(key, target, "must be a module and a class in it, such as mylab.priors.Laplace")
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = str(error.name)
        if module != missing and not module.startswith(f"{missing}."):
            raise ConfigError(key, target, f"{module} cannot be imported: {to_install(error)}") from error
        above, _, last = missing.rpartition(".")
        remedy = "install it, for example pip install -e FOLDER, or start python -m vae_lab in the folder that has it"
        reason = f"{above} has no {last}" if above else f"Python finds no package {missing}; {remedy}"
        raise ConfigError(key, target, reason) from error
    except Exception as error:  # whatever a module does when it is imported
        reason = f"{module} cannot be imported ({type(error).__name__}: {reason_of(error)})"
        raise ConfigError(key, target, reason) from error
    if not hasattr(imported, name):
        near = difflib.get_close_matches(name, [other for other in dir(imported) if other[0] != "_"], n=1)
        raise ConfigError(key, target, f"{module} has no {name}" + (f", did you mean {near[0]}?" if near else ""))
    return getattr(imported, name)


def _check_kind(key: str, target: str, found: Any, group: str) -> None:
    """Refuse an object that is no class of the group's kind."""
    kind = KINDS[group]
    if group == "scheduler" and isinstance(found, FunctionType):
        return
    if group == "trainer" and target != "lightning.Trainer":
        raise ConfigError(key, target, "must be lightning.Trainer; write callbacks and loggers of your own instead")
    if not isinstance(found, type) or not issubclass(found, kind) or (found is kind and group != "trainer"):
        offered_by, _ = OUR_TARGETS.get(group, (None, None))
        place = offered_by if is_ours(kind.__module__) else kind.__module__
        name = f"{place}.{kind.__name__}"
        reason = f"must be a class derived from {name}{ALSO.get(group, '')}"
        if group == "data" and isinstance(found, type) and issubclass(found, LightningDataModule):
            reason += NOT_ENOUGH
        raise ConfigError(key, target, reason)
    if inspect.isabstract(found):
        lacking = ", ".join(sorted(found.__abstractmethods__))  # type: ignore[attr-defined]
        raise ConfigError(key, target, f"is abstract, it lacks {lacking}")


def _group(key: str) -> str | None:
    """The group whose classes are allowed at a key; None where none are."""
    if key in NESTED:
        return NESTED[key]
    group, _, name = key.partition(".")
    if group in ("callbacks", "logger"):
        return group if name and not re.search(r"[.\[]", name) else None
    return None if name else group


def _is_offered(group: str | None, target: str) -> bool:
    """Whether it is one of vae_lab's own classes for a group, under the name that users know."""
    if group is None or target in APART.get(group, ()):
        return group is not None
    offered_by, kind = OUR_TARGETS.get(group, (None, type))
    module, _, name = target.rpartition(".")
    if module != offered_by or name.startswith("_"):
        return False
    offering = importlib.import_module(module)
    found = getattr(offering, name, None)
    origin = str(getattr(found, "__module__", ""))
    is_listed = name in getattr(offering, "__all__", ()) and is_ours(origin)
    if origin != module and not is_listed:
        return False  # merely imported there
    if not isinstance(found, type):
        return isinstance(found, kind)
    # a base class cannot do the work
    return issubclass(found, kind) and found is not kind and not inspect.isabstract(found)
