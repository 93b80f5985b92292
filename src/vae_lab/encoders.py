"""Encoders: calling one with images gives the posterior q(z|x), a distribution over latent vectors."""

import math

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from vae_lab.networks import Activation, HiddenDims, ImageShape, Width, mlp


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
