"""What every loss has: stages, and what a stage minimises for a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_lab.models import Model
from vae_lab.models.parts import evaluating
from vae_lab.randomness import fixed_noise

Weight = Tensor | float | None


class Stage(NamedTuple):
    """One or several optimiser steps with each batch."""

    name: str
    parameters: list[nn.Parameter]
    """The parameters that this stage changes, with an optimiser of its own."""
    steps: int = 1
    """Number of steps with each batch, with other noise in each."""
    lr: float = 1.0
    """Factor of the learning rate."""


class Outcome(NamedTuple):
    """Result of a loss for a batch."""

    loss: Tensor
    """What the stage minimises, ()."""
    figures: dict[str, Tensor]
    """Figures of each image, (batch,) each, whose means are reported as train/NAME."""


class Loss(nn.Module):
    """What training minimises. It has no parameters of its own: those are the model's."""

    can_be_compiled = True
    """Whether torch.compile keeps its gradient."""

    def stages(self, model: Model) -> list[Stage]:
        """The stages of a step, in order; by default one stage with all parameters that learn."""
        return [Stage("model", [p for p in model.parameters() if p.requires_grad])]

    def check(self, model: Model) -> None:
        """Raise ValueError or NotOffered where this loss cannot train this model."""

    def weight(self, epochs: float) -> float:
        """The weight that ``forward`` gets after that many epochs of training, a fraction included."""
        return 1.0

    def forward(self, model: Model, x: Tensor, weight: Weight = None, stage: str = "model") -> Outcome:
        """What a stage minimises for a batch.

        Args:
            model: the model that is trained.
            x: images, (batch, channels, height, width).
            weight: result of ``weight`` at this moment of training; None is that after the last epoch.
            stage: name of the stage.
        """
        raise NotImplementedError


def check_samples(samples: int) -> None:
    """Raise ValueError where a loss is to draw no z."""
    if samples < 1:
        raise ValueError(f"samples must be at least 1, and it is {samples}")


@contextmanager
def trial_images(model: Model) -> Iterator[Tensor]:
    """One black image to try a loss with; the model's mode and the random state are left as they were.

    Args:
        model: the model that is to be trained; in evaluation mode inside.
    """
    with torch.no_grad(), fixed_noise(0, model.device), evaluating(model):
        yield torch.zeros(1, *model.image_shape, device=model.device)
