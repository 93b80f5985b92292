"""How large a model may become while it is built."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from vae_lab.errors import ModelSizeError

LARGEST_MODEL = 8 * 2**30  # bytes, about 2,000,000,000 parameters


class SizeLimit(TorchDispatchMode):
    """Adds up the tensors that are made inside the block, and stops before their size exceeds a limit.

    Without it a width of 10¹² first takes all memory of the machine, and then the system kills the process. Building
    on the meta device, which takes no memory, does not work: zuko's masked networks call ``unique``, whose result
    depends on values that a meta tensor does not have.

    Args:
        at_most: largest size of all tensors together, in bytes.

    >>> import torch
    >>> with SizeLimit(at_most=1000):
    ...     torch.zeros(20, 20)
    Traceback (most recent call last):
    vae_lab.errors.ModelSizeError: the model would take more than 0.0 GB; ...
    """

    def __init__(self, at_most: int) -> None:
        super().__init__()
        self.at_most, self.used = at_most, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Add the size of the tensor, if the operation makes one from a size."""
        arguments = func._schema.arguments
        if args and arguments[0].name == "size":
            # float32, as parts are built; a mask of booleans counts as much
            self.used += 4 * math.prod(args[0])
            if self.used > self.at_most:
                raise ModelSizeError(
                    f"the model would take more than {self.at_most / 1e9:.1f} GB; "
                    "lower latent_dim, hidden_dims or channels, or the part's own sizes"
                )
        return func(*args, **(kwargs or {}))
