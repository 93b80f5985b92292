"""Layers that an encoder and a decoder share."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

Activation = Literal["relu", "elu", "silu", "gelu", "tanh"]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def conv_sizes(size: int, layers: int, kernel: int, stride: int) -> list[int]:
    """Heights (or widths) of an image on its way through convolutions with padding (kernel − 1) // 2.

    Args:
        size: height or width of the image, in pixels.
        layers: number of convolutions.
        kernel: width of each convolution, in pixels.
        stride: stride of each convolution, in pixels.

    Raises:
        ValueError: if nothing is left before the last layer.

    >>> conv_sizes(28, layers=2, kernel=4, stride=2), conv_sizes(28, layers=3, kernel=4, stride=2)
    ([28, 14, 7], [28, 14, 7, 3])
    """
    sizes = [size]
    for _ in range(layers):
        sizes.append((sizes[-1] + 2 * ((kernel - 1) // 2) - kernel) // stride + 1)
    if min(sizes) < 1:
        raise ValueError(f"{layers} convolutions of stride {stride} leave nothing of {size} pixels; use fewer channels")
    return sizes


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
