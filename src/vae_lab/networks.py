"""Layers that an encoder and a decoder share."""

import itertools
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

Width = Annotated[int, Field(ge=1)]
HiddenDims = Annotated[list[Width], Field(min_length=1)]
ImageShape = tuple[Width, Width, Width]
Activation = Literal["relu", "elu", "silu", "gelu", "tanh"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def mlp(sizes: Sequence[int], activation: Activation = "silu", layer_norm: bool = False) -> nn.Sequential:
    """Linear layers of the given sizes, with an activation (after an optional LayerNorm) between them.

    Args:
        sizes: widths from the input to the output; n + 1 of them give n linear layers.
        activation: the function between layers; none follows the last.
        layer_norm: normalise each hidden layer before its activation.

    >>> [layer.out_features for layer in mlp([784, 300, 20]) if isinstance(layer, nn.Linear)]
    [300, 20]
    """
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers.append(nn.Linear(before, after))
        if layer_norm:
            layers.append(nn.LayerNorm(after))
        layers.append(ACTIVATIONS[activation]())
    return nn.Sequential(*layers[: -2 if layer_norm else -1])
