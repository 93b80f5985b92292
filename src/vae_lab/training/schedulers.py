"""Learning-rate schedules, by optimiser step."""

import math
from typing import Annotated

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


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
