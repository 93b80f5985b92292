"""A decoder of linear layers."""

import math

from torch import Tensor, nn

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.decoders.base import Decoder
from vae_lab.likelihoods import Likelihood
from vae_lab.networks import Activation, mlp


class MLPDecoder(Decoder):
    """p(x|z) = likelihood(f(z)), with f a multi-layer perceptron that mirrors the encoder's.

    Args:
        latent_dim: length of z.
        hidden_dims: hidden widths of the *encoder*, from the image to the code; the decoder reverses them.
        likelihood: turns f's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        activation: function between the layers.
        layer_norm: normalise each hidden layer before its activation.

    >>> import torch
    >>> from vae_lab.likelihoods import Bernoulli
    >>> decoder = MLPDecoder(latent_dim=2, hidden_dims=[32, 16], likelihood=Bernoulli(), image_shape=(1, 28, 28))
    >>> decoder(torch.randn(7, 5, 2)).mean.shape
    torch.Size([7, 5, 1, 28, 28])
    """

    def __init__(
        self,
        latent_dim: Size,
        hidden_dims: Sizes,
        likelihood: Likelihood,
        image_shape: ImageShape,
        activation: Activation = "silu",
        layer_norm: bool = False,
    ) -> None:
        super().__init__(likelihood, image_shape)
        self.net = mlp([latent_dim, *reversed(hidden_dims), math.prod(self.output_shape)], activation, layer_norm)

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value for each output of a pixel."""
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        last.bias.data.copy_(self.likelihood.link(mean_image).flatten())
