"""The annotations of a constructor or a function, as far as they can be looked up."""

import contextlib
import inspect
import types
import typing
from typing import Any


def hints_of(found: Any) -> dict[str, Any]:
    """The annotations of a class or function, with those of the classes that its ``**options`` go to.

    Those of another package that refer to what cannot be looked up are left out.
    """
    if not inspect.isclass(found):
        return _hints(found)
    hints: dict[str, Any] = {}
    for kind in inspect.getmro(found):
        if "__init__" in vars(kind):
            hints = _hints(kind.__init__) | hints  # type: ignore[misc]
            try:
                parameters = inspect.signature(kind).parameters.values()
            except ValueError:  # of a class that is not written in Python
                break
            if not any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters):
                break
    return hints


def _hints(function: Any) -> dict[str, Any]:
    """The annotations of a function; where not all can be looked up, those that can."""
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError, ValueError):
        found: dict[str, Any] = {}
    function = inspect.unwrap(function)
    for name, annotation in getattr(function, "__annotations__", {}).items():
        alone = types.SimpleNamespace(__annotations__={name: annotation}, __globals__=function.__globals__)
        with contextlib.suppress(NameError, TypeError, AttributeError, ValueError):
            found |= typing.get_type_hints(alone, include_extras=True)
    return found
