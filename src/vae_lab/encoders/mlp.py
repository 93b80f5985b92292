"""An encoder of linear layers."""

import math

from torch import Tensor

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.encoders.base import Encoder
from vae_lab.networks import Activation, mlp
from vae_lab.posteriors import Posterior


class MLPEncoder(Encoder):
    """q(z|x) = posterior(f(x)), with f a multi-layer perceptron.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), appendix C.2, https://arxiv.org/abs/1312.6114

    Args:
        latent_dim: length of z.
        hidden_dims: widths of the hidden layers, from the image to the code.
        image_shape: (channels, height, width) of the images.
        activation: function between the layers.
        layer_norm: normalise each hidden layer before its activation.
        posterior: family of q(z|x); None is a diagonal normal.

    >>> import torch
    >>> posterior = MLPEncoder(latent_dim=2, hidden_dims=[32], image_shape=(1, 28, 28))(torch.rand(5, 1, 28, 28))
    >>> posterior.batch_shape, posterior.event_shape
    (torch.Size([5]), torch.Size([2]))
    """

    def __init__(
        self,
        latent_dim: Size,
        hidden_dims: Sizes,
        image_shape: ImageShape,
        activation: Activation = "silu",
        layer_norm: bool = False,
        posterior: Posterior | None = None,
    ) -> None:
        super().__init__(latent_dim, posterior)
        self.image_shape = image_shape[0], image_shape[1], image_shape[2]
        self.net = mlp([math.prod(image_shape), *hidden_dims, self.posterior.inputs], activation, layer_norm)

    def numbers(self, x: Tensor) -> Tensor:
        """Output of the network for images x (batch, channels, height, width): what the posterior needs, (batch, n)."""
        return self.net(x.flatten(1))
