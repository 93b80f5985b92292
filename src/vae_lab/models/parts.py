"""Parts in use: their mode, and the first call, which names in one line the part that does not give what it must."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.errors import UserError, raised_by


class PartError(ValueError):
    """A part of a model does not give what it must.

    Args:
        part: its name among the arguments of the model, such as prior.
        reason: what it did, and what is asked of it.
    """

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(reason)
        self.part = part


@contextmanager
def evaluating(whole: nn.Module) -> Iterator[None]:
    """Evaluation mode inside the block; after it each module within has the mode that it had before.

    Args:
        whole: the module, with all modules within it.
    """
    modes = {module: module.training for module in whole.modules()}
    try:
        whole.eval()
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def first_call(name: str, part: nn.Module, *inputs: Tensor) -> Distribution:
    """The distribution over codes that a part gives when it is called: p(z) or q(z|x).

    Args:
        name: its name among the arguments of the model.
        part: a prior, called with nothing, or an encoder, called with images.
        inputs: what it is called with.

    Raises:
        PartError: if it raises something, or gives something else than one vector z for each draw.
    """
    kind = type(part).__name__
    try:
        given = part(*inputs)
    except UserError:
        raise
    except NotImplementedError as error:
        lacks = traceback.extract_tb(error.__traceback__)[-1].name
        raise PartError(name, str(error) or f"{kind} has no {lacks} of its own") from error
    except Exception as error:  # whatever a class of another package does when it is called
        raise PartError(name, f"{raised_by(error, type(part).__module__)} when it was called") from error
    if not isinstance(given, Distribution):
        reason = f"gave a {type(given).__name__} when it was called, and must give a torch.distributions.Distribution"
        raise PartError(name, reason)
    if len(given.event_shape) != 1:
        reason = f"an event of its distribution is {tuple(given.event_shape)}, and must be one vector z, (latent,)"
        raise PartError(name, f"{reason}; torch.distributions.Independent(…, 1) makes one of independent numbers")
    return given
