"""An exponential moving average of weights: trained with the raw ones, judged with the averaged ones."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from vae_lab.errors import RunFolderError, UserError
from vae_lab.models import Model


class Average:
    """a_t = d_t a_{t−1} + (1 − d_t) w_t after step t = 1, 2, …, with a_0 = w_0 and d_t = min(decay, t / (9 + t)).

    The smaller d_t of the first steps lets the untrained weights go soon: with decay alone, 0.999 would leave a third
    of them after 1,000 steps. Source: Polyak and Juditsky, Acceleration of Stochastic Approximation by Averaging
    (1992), https://doi.org/10.1137/0330046

    One tensor beside each weight: the average while the model trains, and the raw weight inside ``in_place``.

    Args:
        model: model that is trained, on its device; it says which of its weights are averaged.
        decay: weight of the past, below 1; the average spans about 1 / (1 − decay) steps.

    Raises:
        UserError: if a weight has 16 bits, in which small steps of an average are lost.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay, self.steps, self.is_in_place = decay, 0, False
        chosen = {id(weight) for weight in model.averaged_weights()}
        for part in model.modules():  # what batch normalisation saw goes with its weights
            if getattr(part, "running_mean", None) is not None and id(part.weight) in chosen:
                chosen |= {id(part.running_mean), id(part.running_var)}
        tensors = itertools.chain(model.named_parameters(), model.named_buffers())
        named = {name: tensor for name, tensor in tensors if id(tensor) in chosen}
        if any(weight.element_size() < 4 for weight in named.values()):
            raise UserError("training.ema needs weights of 32 bits or more; use a mixed precision, or training.ema=0")
        self.names, self.weights = list(named), list(named.values())
        self.others = [weight.detach().clone() for weight in self.weights]

    def next_decay(self) -> float:
        """d_t of the next step, which is counted now."""
        self.steps += 1
        return min(self.decay, self.steps / (9 + self.steps))

    def update(self) -> None:
        """Add the weights after a step."""
        get_ema_multi_avg_fn(self.next_decay())(self.others, self.weights, 0)

    @torch.no_grad()
    def update_by(self, share: Tensor) -> None:
        """Add the weights with a share 1 − d_t, (), that lies on the device: the same, for steps that are captured."""
        for other, weight in zip(self.others, self.weights, strict=True):
            other.lerp_(weight, share.to(other.dtype))

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the raw and the averaged weights, in place: an optimiser and a compiled step know their memory."""
        for weight, other in zip(self.weights, self.others, strict=True):
            kept = weight.clone()
            weight.copy_(other)
            other.copy_(kept)
        self.is_in_place = not self.is_in_place

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside the block the model has the averaged weights."""
        if self.is_in_place:
            yield
            return
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def save(self, checkpoint: dict[str, Any]) -> None:
        """Let a checkpoint's weights be the averaged ones, and put the raw ones into its moment.

        Args:
            checkpoint: content of a checkpoint with the model's present weights and the moment of training.
        """
        weights = checkpoint["state_dict"]
        present = {name: weights[name] for name in self.names}
        others = dict(zip(self.names, self.others, strict=True))
        averaged, raw = (present, others) if self.is_in_place else (others, present)
        checkpoint["state_dict"] = weights | averaged
        checkpoint["moment"] = checkpoint["moment"] | {"average": {"steps": self.steps, "raw": raw}}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from the ``average`` in the moment of a checkpoint, whose averaged weights the model has.

        Raises:
            RunFolderError: if it is of another model.
        """
        raw = [state["raw"].get(name) for name in self.names]
        if [getattr(tensor, "shape", None) for tensor in raw] != [weight.shape for weight in self.weights]:
            raise RunFolderError("the raw weights in the checkpoint belong to another model")
        self.steps = int(state["steps"])
        for weight, other, tensor in zip(self.weights, self.others, raw, strict=True):
            other.copy_(weight)
            weight.copy_(tensor)
