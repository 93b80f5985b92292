"""The latent space of a model inside a notebook."""

from typing import Any

import torch
from torch import Tensor

from vae_lab.api.trained_run import TrainedRun
from vae_lab.errors import UserError
from vae_lab.exploring.space import LatentSpace
from vae_lab.exploring.widget import widget_of
from vae_lab.models import Model
from vae_lab.models.border import Values


def explore(model: Model | TrainedRun, images: Values | None = None, labels: Values | None = None) -> Any:
    """A widget that shows a model's latent space: points to drag over, sliders, walks and samples.

    The same page for a run folder is ``python -m vae_lab task=explore run_dir=FOLDER``.

    Args:
        model: model with codes, or a run, whose test images are then shown.
        images: images whose codes are the points, (n, channels, height, width); None shows draws of the prior.
        labels: label of each image, (n,) integers from 0, or None.

    Raises:
        NotOffered: if the model has no codes.
        UserError: if anywidget is not installed, or it is given something else, such as a folder's name.

    >>> vae_lab.explore(vae_lab.load("outputs/runs/…"))  # doctest: +SKIP
    """
    if isinstance(model, TrainedRun):
        return widget_of(LatentSpace.of(model.model, model.data))
    if not isinstance(model, Model):
        raise UserError(
            f"explore takes a run or a model, and this is a {type(model).__name__}; use vae_lab.load(FOLDER)"
        )
    shown = None if images is None else model.admit(images)
    names: list[str] = []
    chosen: Tensor | None = None
    if labels is not None:
        chosen = torch.as_tensor(labels).long()
        names = [str(label) for label in range(int(chosen.max()) + 1)]
    return widget_of(LatentSpace(model, shown, chosen, names))
