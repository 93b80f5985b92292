"""What makes the host wait for the device, and what a captured graph cannot repeat: found on any device, a CPU too."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# operations whose result is a number on the host, or a tensor whose shape depends on values
WAITING = frozenset(
    f"aten::{name}"
    for name in (
        "_local_scalar_dense", "equal", "is_nonzero", "nonzero", "masked_select", "_unique", "_unique2", "unique_dim",
        "unique_consecutive", "bincount", "histc", "allclose", "argwhere",
    )
)  # fmt: skip
# methods that copy to the host; on a CPU they are no operation of their own
TO_HOST = frozenset({Tensor.cpu, Tensor.tolist, Tensor.numpy, Tensor.__array__})
INDEXING = frozenset({"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"})
HERE = str(Path(__file__))


class _Operations(TorchDispatchMode):
    """Hands every operation to a function, with its arguments; those of a backward pass too."""

    def __init__(self, hear: Callable[[Any, Sequence[Any], Any], None]) -> None:
        super().__init__()
        self.hear = hear

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        self.hear(func, args, found)
        return found


class _Methods(TorchFunctionMode):
    """Hears the methods of tensors that copy to the host."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        super().__init__()
        self.hear = hear

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # a device that is named in words: one that is taken from a tensor is the device itself
        to_cpu = func is Tensor.to and "cpu" in [
            value for value in (*args[1:], *(kwargs or {}).values()) if type(value) is str
        ]
        if func in TO_HOST or to_cpu:
            self.hear(f"Tensor.{func.__name__}")
        return func(*args, **(kwargs or {}))


class HostReads:
    """Collects what waits for the device inside ``watching``, with the line that asks for it.

    ``.item()``, ``.cpu()``, ``bool(tensor)`` and the like, and results whose shape depends on values: indices by a
    mask, nonzero, unique. Beside them it collects the operations with the shapes of their results.

    Args:
        device: device that the steps are made on; other tensors are no reason to wait.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.found: list[str] = []
        self.shapes: set[tuple[str, tuple[int, ...]]] = set()
        """Name of each operation and shape of its result: what memory it takes."""

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Inside the block every operation is looked at."""
        with _Operations(self._hear), _Methods(self._note):
            yield

    def _hear(self, func: Any, args: Sequence[Any], found: Any) -> None:
        name = func._schema.name
        if isinstance(found, Tensor):
            self.shapes.add((name, tuple(found.shape)))
        if name in WAITING or (name in INDEXING and _has_mask(args)):
            tensor = next((value for value in args if isinstance(value, Tensor)), None)
            if tensor is None or tensor.device.type == self.device.type:
                self._note(name)

    def _note(self, what: str) -> None:
        place = _place()
        if place:
            self.found.append(f"{what} in {place}")


def _has_mask(args: Sequence[Any]) -> bool:
    indices = args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _place() -> str | None:
    """File and line that asks for an operation, the innermost one outside torch.

    None within torch's optimisers: one that is neither fused nor capturable counts its steps in a tensor on the host.
    """
    torchs = Path(torch.__file__).parent
    frames = [frame for frame in traceback.extract_stack() if frame.filename != HERE]
    last = max(at for at, frame in enumerate(frames) if not Path(frame.filename).is_relative_to(torchs))
    if any(Path(frame.filename).is_relative_to(torchs / "optim") for frame in frames[last:]):
        return None
    return f"{Path(frames[last].filename).name}:{frames[last].lineno}"
