"""Parts that remember the arguments that they were made with, so that a model built by hand can be saved."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

NAME = "_made_with"


class Recorded:
    """A class whose objects keep the arguments of their constructor."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__dict__["__init__"])  # type: ignore[method-assign]


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    """A constructor that keeps its arguments first; of those that call each other, the outermost."""

    @functools.wraps(init)
    def constructor(self: Any, *args: Any, **named: Any) -> None:
        if NAME not in self.__dict__:
            kept = tuple(map(_kept, args)), {name: _kept(value) for name, value in named.items()}
            object.__setattr__(self, NAME, kept)  # of a module, before it can hold attributes
        init(self, *args, **named)

    return constructor


def _kept(value: Any) -> Any:
    return list(value) if isinstance(value, list) else value  # the caller may change the list later


def arguments_of(part: Any) -> dict[str, Any]:
    """The arguments that an object of a Recorded class was made with, by name.

    >>> class Layer(Recorded):
    ...     def __init__(self, width: int, depth: int = 1) -> None: ...
    >>> arguments_of(Layer(3))
    {'width': 3}
    """
    args, named = getattr(part, NAME, ((), {}))
    return dict(list(inspect.signature(type(part).__init__).bind(part, *args, **named).arguments.items())[1:])
