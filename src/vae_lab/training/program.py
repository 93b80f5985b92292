"""Some optimiser steps over memory that stays where it is: what a graph of a GPU captures, and a CPU runs as it is."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from vae_lab.data.batches import Batches
from vae_lab.training.steps import all_stages, bare_step
from vae_lab.training.sums import summed


class Program:
    """``steps`` optimiser steps: gather, binarize, forward, backward, clip, optimise, add up.

    What changes from call to call is written into tensors before: which images each step takes, and a row of numbers
    for each step, the weight of the loss, the share of the moving average and the learning rates. What comes out are
    rows of sums of figures. Nothing is read from the device.

    Args:
        module: the training.
        batches: training batches, on the device.
        optimizers: optimiser of each stage, by its name.
        steps: number of steps.
    """

    def __init__(self, module: Any, batches: Batches, optimizers: Mapping[str, Optimizer], steps: int) -> None:
        self.module, self.batches, self.optimizers, self.steps = module, batches, optimizers, steps
        device = batches.images.device
        self.chosen = torch.zeros(steps, batches.batch_size, dtype=torch.int64, device=device)
        groups = sum(len(optimizer.param_groups) for optimizer in optimizers.values())
        self.numbers = torch.zeros(steps, 2 + groups, dtype=torch.float64, device=device)
        # a GPU's optimisers read a learning rate in single precision
        dtype = torch.float64 if device.type == "cpu" else torch.float32
        self.rates = [torch.zeros((), dtype=dtype, device=device) for _ in range(groups)]
        self.names: tuple[str, ...] = ()
        self.rows: Tensor | None = None  # sums of each step, (steps, figures)

    def fill(self, chosen: Sequence[Tensor], numbers: Sequence[Sequence[float]]) -> None:
        """Say what the next call takes.

        Args:
            chosen: numbers of the images of each step, (batch,) each.
            numbers: weight, share of the average and learning rate of each group of each optimiser, for each step.
        """
        torch.stack(list(chosen), out=self.chosen)
        self.numbers.copy_(torch.tensor(numbers, dtype=torch.float64))

    def run(self) -> None:
        """Make all steps."""
        with self._rates_on_device():
            for step in range(self.steps):
                self._step(step)

    def _step(self, step: int) -> None:
        module, (weight, share, *rates) = self.module, self.numbers[step].unbind()
        for of_optimizer, rate in zip(self.rates, rates, strict=True):
            of_optimizer.copy_(rate)
        x = module.inputs.take(self.batches.take(self.chosen[step]), "training")
        module.weight.copy_(weight)
        _, figures = all_stages(
            module, x, module.weight, lambda stage, loss: bare_step(module, self.optimizers[stage], loss)
        )
        if module.average:
            module.average.update_by(share)
        figures |= module.inputs.trace(x)
        row = summed(figures)
        if self.rows is None:
            self.names, self.rows = tuple(figures), row.new_zeros(self.steps, len(row))
        self.rows[step].copy_(row)

    @contextmanager
    def _rates_on_device(self) -> Iterator[None]:
        """Inside the block the optimisers read their learning rates from tensors, and may be captured."""
        groups = groups_of(self.optimizers)
        kept: list[dict[str, Any]] = [{name: group[name] for name in ("lr", "capturable")} for group in groups]
        for group, rate in zip(groups, self.rates, strict=True):
            group["lr"] = rate
            if rate.is_cuda:
                group["capturable"] = True
        try:
            yield
        finally:
            for group, before in zip(groups, kept, strict=True):
                group.update(before)


def groups_of(optimizers: Mapping[str, Optimizer]) -> list[dict[str, Any]]:
    """The groups of parameters of all optimisers, in order."""
    return [group for optimizer in optimizers.values() for group in optimizer.param_groups]
