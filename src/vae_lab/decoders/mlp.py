"""A decoder of linear layers."""

import math

from torch import Tensor

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.decoders.masked import Kernel, Layers, Masked, MaskedDecoder
from vae_lab.likelihoods import Likelihood
from vae_lab.networks import Activation, mlp


class MLPDecoder(MaskedDecoder):
    """p(x|z) = likelihood(f(z)), with f a multi-layer perceptron that mirrors the encoder's.

    Args:
        latent_dim: length of z.
        hidden_dims: hidden widths of the *encoder*, from the image to the code; the decoder reverses them.
        likelihood: turns f's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        activation: function between the layers.
        layer_norm: normalise each hidden layer before its activation.
        masked_kernel: width of the window of pixels that each pixel sees the earlier ones of, in pixels, odd; 0 for
            independent pixels.
        feature_maps: with a window, number of maps of z that f gives in place of the output; None is 8.
        masked_width: with a window, number of hidden units of each pixel; None is 32.
        masked_layers: with a window, number of further gated layers within each pixel; None is 0.

    Raises:
        ValueError: if the window is even, or sizes of it are given and there is none.

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
        masked_kernel: Kernel = 0,
        feature_maps: Size | None = None,
        masked_width: Size | None = None,
        masked_layers: Layers | None = None,
    ) -> None:
        masked = Masked(masked_kernel, feature_maps, masked_width, masked_layers)
        super().__init__(latent_dim, likelihood, image_shape, masked)
        self.net = mlp([latent_dim, *reversed(hidden_dims), math.prod(self.output_shape)], activation, layer_norm)

    def maps(self, z: Tensor) -> Tensor:
        """Maps of codes z (n, latent), as rows of pixels, (n, height × width, feature_maps)."""
        return self.net(z).unflatten(1, (-1, self.output_shape[0]))

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias: one value for each output of a pixel; with a window, for each output of a channel."""
        if self._start_head_at(mean_image):
            return
        self._start_net_at(self.likelihood.link(mean_image))
