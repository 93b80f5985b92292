"""Mistakes that a user can correct: each is one line that names the key or file, and the remedy."""

import errno
import traceback
from pathlib import Path

# packages of our extras, and the extra of each
EXTRAS = {"optuna": "search", "wandb": "wandb", "mlflow": "mlflow", "trackio": "trackio"}


def reason_of(error: BaseException) -> str:
    """The first line of what an exception says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_ours(name: str) -> bool:
    """Whether a module, or a class by its full name, is one of vae_lab.

    >>> is_ours("vae_lab.priors.Mixture"), is_ours("vae_laboratory.Mixture")
    (True, False)
    """
    return name.startswith("vae_lab.")


def raised_by(error: BaseException, module: str) -> str:
    """What a class of another package raised, with the file and the line in that package, on one line.

    Args:
        error: the exception.
        module: name of the module of the class, with dots.
    """
    package = module.partition(".")[0]
    said = f"raised {type(error).__name__} ({reason_of(error)})"
    places = [
        (Path(frame.f_code.co_filename), number)
        for frame, number in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == package
    ]
    if not places:
        return said
    file, number = places[-1]
    return f"{said} in {file.relative_to(Path.cwd()) if file.is_relative_to(Path.cwd()) else file}, line {number},"


def unusable(error: OSError) -> str:
    """What the system says of a file or folder, and what to do about it.

    >>> unusable(PermissionError(13, "Permission denied", "run/config.yaml"))
    'run/config.yaml: Permission denied; give yourself the right to read and write it, or name another'
    """
    remedies = {
        errno.EACCES: "give yourself the right to read and write it, or name another",
        errno.EPERM: "give yourself the right to read and write it, or name another",
        errno.ENOSPC: "free some space, or name another place",
        errno.EDQUOT: "free some space, or name another place",
        errno.ENAMETOOLONG: "name a shorter one",
    }
    said = error.strerror or reason_of(error)
    remedy = remedies.get(error.errno or 0, "name another")
    return f"{error.filename}: {said}; {remedy}" if error.filename else f"{said}; {remedy}"


def to_install(error: ImportError) -> str:
    """What cannot be imported, and what to do about it.

    >>> to_install(ModuleNotFoundError("No module named 'zuko'", name="zuko"))
    "No module named 'zuko'; pip install zuko"
    >>> to_install(ModuleNotFoundError("No module named 'optuna'", name="optuna"))
    "No module named 'optuna'; pip install 'vae_lab[search]'"
    """
    package = (error.name or "").partition(".")[0]
    wanted = f"'vae_lab[{EXTRAS[package]}]'" if package in EXTRAS else package
    return f"{reason_of(error)}; {f'pip install {wanted}' if wanted else 'install it'}"


class UserError(Exception):
    """Shown as one line without a traceback; the program ends with exit code 2."""


class ConfigError(UserError):
    """A value of the configuration is not allowed.

    Args:
        key: key of the value, with dots.
        value: the value as it was given.
        reason: what is allowed instead.
        example: whether any value of the right kind will do, so that the default is an example of one.
    """

    def __init__(self, key: str, value: object, reason: str, example: bool = False) -> None:
        shown = str(value).replace(" ", "") if isinstance(value, list) else str(value)
        super().__init__(f"{key}={shown}: {reason}")
        self.key, self.example = key, example


class NotOffered(UserError):
    """A model, or a part of it, does not have what was requested."""


class ModelSizeError(UserError):
    """The model's tensors would take more memory than a model may."""


class ImageError(UserError):
    """Images that a model cannot take, by their form or their values."""


class DataError(UserError):
    """The images are not there and cannot be fetched."""


class RunFolderError(UserError):
    """A run folder is missing, incomplete or damaged."""


class NonFiniteError(UserError):
    """The loss turned NaN or infinite."""


class DiskError(UserError):
    """A file of a run could not be written; what was there before is untouched."""


class Interrupted(BaseException):
    """The user or the system stopped the run; ``except Exception`` does not catch it, as with KeyboardInterrupt.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
