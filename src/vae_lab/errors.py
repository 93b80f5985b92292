"""Mistakes that a user can mend: each is one line that names the key or file, and the remedy."""


class UserError(Exception):
    """Shown as one line without a traceback; the program ends with exit code 2."""


class ConfigError(UserError):
    """A value of the configuration is not allowed."""


class DataError(UserError):
    """The images are not there and cannot be fetched."""


class RunFolderError(UserError):
    """A run folder is missing, incomplete or damaged."""


class NonFiniteError(UserError):
    """The loss turned NaN or infinite."""
