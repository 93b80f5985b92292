"""Encoders: calling one with images gives the posterior q(z|x), a distribution over latent vectors."""

import itertools
import math

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lab.networks import ACTIVATIONS, Activation, HiddenDims, ImageShape, Width, conv_sizes, mlp


def diagonal_normal(parameters: Tensor) -> Distribution:
    """N(z; μ, diag σ²) from (…, 2 × latent) values, the means before the log-variances.

    >>> import torch
    >>> diagonal_normal(torch.zeros(3, 4)).sample().shape
    torch.Size([3, 2])
    """
    mean, log_variance = parameters.chunk(2, dim=-1)
    return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)


class MLPEncoder(nn.Module):
    """q(z|x) = N(z; μ(x), diag σ²(x)), with μ and log σ² from one multi-layer perceptron.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), appendix C.2.

    Args:
        latent_dim: length of z.
        hidden_dims: widths of the hidden layers, from the image to the code.
        image_shape: (channels, height, width).
        activation: the function between layers.
        layer_norm: normalise each hidden layer before its activation.

    >>> import torch
    >>> posterior = MLPEncoder(latent_dim=2, hidden_dims=[32])(torch.rand(5, 1, 28, 28))
    >>> posterior.batch_shape, posterior.event_shape
    (torch.Size([5]), torch.Size([2]))
    """

    def __init__(
        self,
        latent_dim: Width,
        hidden_dims: HiddenDims,
        image_shape: ImageShape = (1, 28, 28),
        activation: Activation = "silu",
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.net = mlp([math.prod(image_shape), *hidden_dims, 2 * latent_dim], activation, layer_norm)

    def forward(self, x: Tensor) -> Distribution:
        """The posterior of images x (batch, channels, height, width); its samples are (…, batch, latent)."""
        return diagonal_normal(self.net(x.flatten(1)))


class ConvEncoder(nn.Module):
    """q(z|x) = N(z; μ(x), diag σ²(x)), from strided convolutions and one linear layer for μ and log σ².

    The default is 28 × 28 → 14 × 14 × 32 → 7 × 7 × 64 → 2 × latent.

    Args:
        latent_dim: length of z.
        channels: of the convolutions, from the image to the code.
        image_shape: (channels, height, width); 28 × 28, 32 × 32 or any other.
        kernel: width of each convolution; its padding is (kernel − 1) // 2.
        stride: of each convolution.
        activation: the function after each convolution.

    Raises:
        ValueError: if the convolutions leave nothing of the image.

    >>> import torch
    >>> ConvEncoder(latent_dim=2, channels=[8, 16, 16])(torch.rand(5, 1, 28, 28)).event_shape
    torch.Size([2])
    """

    def __init__(
        self,
        latent_dim: Width,
        channels: HiddenDims,
        image_shape: ImageShape = (1, 28, 28),
        kernel: Width = 4,
        stride: Width = 2,
        activation: Activation = "relu",
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([image_shape[0], *channels]):
            layers += [nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2), ACTIVATIONS[activation]()]
        height, width = (conv_sizes(size, len(channels), kernel, stride)[-1] for size in image_shape[1:])
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * height * width, 2 * latent_dim))

    def forward(self, x: Tensor) -> Distribution:
        """The posterior of images x (batch, channels, height, width); its samples are (…, batch, latent)."""
        return diagonal_normal(self.net(x))
