"""Layers that an encoder and a decoder share."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

Activation = Literal["relu", "elu", "silu", "gelu", "tanh"]
Norm = Literal["batch", "group", "none"]

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


def norm_of(norm: Norm, channels: int) -> nn.Module:
    """What normalises maps of so many channels: each over the batch, or groups of at least four, at most eight groups.

    A group of one channel would leave nothing of a map of one pixel.
    """
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    groups = max(n for n in range(1, 9) if channels % n == 0 and (n == 1 or channels >= 4 * n))
    return nn.GroupNorm(groups, channels)


def halved(size: tuple[int, int], times: int) -> list[tuple[int, int]]:
    """Heights and widths of an image whose sizes n become ⌈n / 2⌉ again and again, the image's own first.

    Args:
        size: height and width of the image, in pixels.
        times: how often they are halved.

    Raises:
        ValueError: if a single pixel would be halved.

    >>> halved((28, 30), times=3)
    [(28, 30), (14, 15), (7, 8), (4, 4)]
    """
    sizes = [size]
    for _ in range(times):
        if sizes[-1] == (1, 1):
            most = len(sizes) - 1
            raise ValueError(f"{times} channels halve {size[0]} × {size[1]} pixels too often; use at most {most}")
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class ResidualBlock(nn.Module):
    """h + W₂ ∗ a(norm(W₁ ∗ a(norm(h)))), with a the activation and 3 × 3 convolutions.

    Args:
        channels: number of channels of h.
        activation: function before each convolution.
        norm: what is before each activation.
    """

    def __init__(self, channels: int, activation: Activation, norm: Norm) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [norm_of(norm, channels), ACTIVATIONS[activation](), nn.Conv2d(channels, channels, 3, padding=1)]
        self.change = nn.Sequential(*layers)

    def forward(self, h: Tensor) -> Tensor:
        """Maps (n, channels, height, width) from maps of the same shape."""
        return h + self.change(h)


def normal_weights(net: nn.Module, sd: float | None) -> None:
    """Start the weights of linear layers and convolutions at draws of N(0, sd²), and their biases at zero.

    Args:
        net: network.
        sd: standard deviation; None is √(2 / number of inputs of each output), with which the values keep their size
            from layer to layer. Source: He et al., Delving Deep into Rectifiers (2015), https://arxiv.org/abs/1502.01852
    """
    for layer in net.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0, (2 / _inputs(layer)) ** 0.5 if sd is None else sd)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _inputs(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d) -> float:
    """Number of inputs of each output, apart from those beyond the border; of a transposed convolution on average."""
    if isinstance(layer, nn.Linear):
        return layer.in_features
    apart = math.prod(layer.stride) if isinstance(layer, nn.ConvTranspose2d) else 1
    return layer.weight.numel() / layer.out_channels / apart
