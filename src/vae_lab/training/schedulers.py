"""Learning-rate schedules: those of vae_lab, and when any schedule moves on.

A schedule that takes ``total_steps``, the number of optimiser steps of the run, moves on after each step, and so does
torch's CyclicLR, whose lengths are in steps. Every other one moves on after each epoch, as torch's are usually used: a
``StepLR`` with ``step_size=10`` changes the rate every ten epochs. ``ReduceLROnPlateau`` is given the criterion that
runs are chosen by.
"""

import inspect
import math
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from vae_lab.errors import UserError


def make_schedule(make: Callable[..., LRScheduler], optimizer: Optimizer, steps: float) -> dict[str, Any]:
    """A schedule as Lightning takes it, with the interval at which it moves on: ``step`` or ``epoch``.

    Args:
        make: function that makes it from the optimiser, and from ``total_steps`` if it takes that.
        optimizer: optimiser whose learning rate it sets.
        steps: number of optimiser steps of the whole run, infinite where it has no end.

    Raises:
        UserError: if it needs the end of a run that has none.
    """
    if not _takes_total_steps(make):
        schedule = make(optimizer)
        return {"scheduler": schedule, "interval": "step" if isinstance(schedule, CyclicLR) else "epoch"}
    if math.isinf(steps):
        raise UserError("a learning-rate schedule needs an end: give the Trainer max_epochs or max_steps")
    return {"scheduler": make(optimizer, total_steps=int(steps)), "interval": "step"}


def _takes_total_steps(make: Callable[..., LRScheduler]) -> bool:
    parameters = inspect.signature(make).parameters
    return "total_steps" in parameters or any(p.kind == inspect.Parameter.VAR_KEYWORD for p in parameters.values())


def end_of_step(schedule: LRScheduler) -> None:
    """Move a schedule on by one step; OneCycleLR would go below zero after its last one."""
    if not isinstance(schedule, OneCycleLR) or schedule.last_epoch + 1 < schedule.total_steps:
        schedule.step()


def end_of_epoch(schedule: LRScheduler, criterion: float) -> None:
    """Move a schedule on by one epoch.

    Args:
        schedule: schedule that moves on after each epoch.
        criterion: what the epoch reached in the figure that runs are chosen by, lower is better.
    """
    if isinstance(schedule, ReduceLROnPlateau):
        schedule.step(criterion)
    else:
        schedule.step()


def warmup_cosine(optimizer: Optimizer, total_steps: int, warmup_steps: Annotated[int, Field(ge=0)] = 500) -> LambdaLR:
    """Linear climb over the first steps, then half a cosine down to zero at the last.

    lr(t) = lr · min((t + 1) / warmup, ½ (1 + cos(π (t − warmup) / (total − warmup)))), after
    Loshchilov and Hutter, SGDR (2017), https://arxiv.org/abs/1608.03983, without restarts.

    Args:
        optimizer: optimiser whose groups have the peak learning rate.
        total_steps: number of optimiser steps of the whole run.
        warmup_steps: number of steps of the climb; at most a tenth of the run is used.

    >>> import torch
    >>> optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    >>> factor = warmup_cosine(optimizer, total_steps=1100, warmup_steps=100).lr_lambdas[0]
    >>> [round(factor(step), 3) for step in (0, 49, 99, 100, 600, 1100)]
    [0.01, 0.5, 1.0, 1.0, 0.5, 0.0]
    """
    warmup = min(warmup_steps, total_steps // 10)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(1, total_steps - warmup))))

    return LambdaLR(optimizer, factor)
