"""Mistakes that a user can correct: each is one line that names the key or file, and the remedy."""


def reason_of(error: Exception) -> str:
    """The first line of what an exception says, or its name."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class UserError(Exception):
    """Shown as one line without a traceback; the program ends with exit code 2."""


class ConfigError(UserError):
    """A value of the configuration is not allowed.

    Args:
        key: key of the value, with dots.
        value: the value as it was given.
        reason: what is allowed instead.
    """

    def __init__(self, key: str, value: object, reason: str) -> None:
        shown = str(value).replace(" ", "") if isinstance(value, list) else str(value)
        super().__init__(f"{key}={shown}: {reason}")
        self.key = key


class NotOffered(UserError):
    """A model, or a part of one, is asked for something that it does not have."""


class ModelSizeError(UserError):
    """The model's tensors would take more memory than a model may."""


class DataError(UserError):
    """The images are not there and cannot be fetched."""


class RunFolderError(UserError):
    """A run folder is missing, incomplete or damaged."""


class NonFiniteError(UserError):
    """The loss turned NaN or infinite."""


class DiskError(UserError):
    """A file of a run could not be written; what was there before is untouched."""


class Interrupted(BaseException):
    """A person or the system stopped the run; like KeyboardInterrupt, no ``except Exception`` catches it.

    Args:
        number: number of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
