"""Noise that is the same each time and does not change the random numbers of training."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def fixed_noise(seed: int, device: torch.device) -> Iterator[None]:
    """Draw from a fixed seed inside the block; afterwards the random state is what it was before.

    Args:
        seed: seed of the generators of the CPU and of the device inside the block.
        device: device that the numbers are drawn on; its state is kept beside the CPU's.

    >>> before = torch.get_rng_state()
    >>> with fixed_noise(0, torch.device("cpu")):
    ...     first = torch.randn(3)
    >>> with fixed_noise(0, torch.device("cpu")):
    ...     second = torch.randn(3)
    >>> torch.equal(first, second), torch.equal(before, torch.get_rng_state())
    (True, True)
    """
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed would seed every GPU too, and those that are not kept would stay so
        torch.default_generator.manual_seed(seed)
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield
