"""Decoders: calling one with latent vectors gives p(x|z), a distribution over images."""

import itertools
import math

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.likelihoods import Likelihood
from vae_lab.networks import ACTIVATIONS, Activation, HiddenDims, ImageShape, Width, conv_sizes, mlp


class Decoder(nn.Module):
    """What a VAE needs to know of a decoder beside calling it.

    Args:
        likelihood: turns the network's output into a distribution over images.
        image_shape: (channels, height, width).
    """

    net: nn.Sequential

    def __init__(self, likelihood: Likelihood, image_shape: ImageShape) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.image_shape = tuple(image_shape)

    def forward(self, z: Tensor) -> Distribution:
        """p(x|z) of codes z (…, latent); its samples are (…, channels, height, width)."""
        raise NotImplementedError

    def start_at(self, mean_image: Tensor) -> None:
        """Set the output bias so that an untrained decoder's mean is about the data's.

        Args:
            mean_image: average training image, (channels, height, width), in [0, 1].

        Source: Burda et al., Importance Weighted Autoencoders (2016), section 5.
        """
        raise NotImplementedError


class MLPDecoder(Decoder):
    """p(x|z) = likelihood(f(z)), with f a multi-layer perceptron that mirrors the encoder's.

    Args:
        latent_dim: length of z.
        hidden_dims: the *encoder's* hidden widths; the decoder walks them backwards.
        likelihood: turns f's output, one value a pixel, into a distribution over images.
        image_shape: (channels, height, width).
        activation: the function between layers.
        layer_norm: normalise each hidden layer before its activation.

    >>> import torch
    >>> from vae_lab.likelihoods import Bernoulli
    >>> decoder = MLPDecoder(latent_dim=2, hidden_dims=[32, 16], likelihood=Bernoulli())
    >>> decoder(torch.randn(7, 5, 2)).mean.shape
    torch.Size([7, 5, 1, 28, 28])
    """

    def __init__(
        self,
        latent_dim: Width,
        hidden_dims: HiddenDims,
        likelihood: Likelihood,
        image_shape: ImageShape = (1, 28, 28),
        activation: Activation = "silu",
        layer_norm: bool = False,
    ) -> None:
        super().__init__(likelihood, image_shape)
        self.net = mlp([latent_dim, *reversed(hidden_dims), math.prod(image_shape)], activation, layer_norm)

    def forward(self, z: Tensor) -> Distribution:
        """The distribution of the images of codes z (…, latent); its samples are (…, channels, height, width)."""
        output = self.net(z.reshape(-1, z.shape[-1]))
        return self.likelihood(output.view(*z.shape[:-1], *self.image_shape))

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value a pixel."""
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        last.bias.data.copy_(self.likelihood.link(mean_image).flatten())


class ConvDecoder(Decoder):
    """p(x|z) = likelihood(f(z)), with f a linear layer and the encoder's convolutions transposed.

    The default is latent → 7 × 7 × 64 → 14 × 14 × 32 → 28 × 28. Output padding makes each layer give back the
    size that the encoder's layer had taken, so that every list of channels fits every image.

    Args:
        latent_dim: length of z.
        channels: the *encoder's* channels; the decoder walks them backwards.
        likelihood: turns f's output, one value a pixel, into a distribution over images.
        image_shape: (channels, height, width).
        kernel: width of each convolution; its padding is (kernel − 1) // 2.
        stride: of each convolution.
        activation: the function between the convolutions; the linear layer has none, as in the sheet.

    Raises:
        ValueError: if the convolutions leave nothing of the image.

    >>> import torch
    >>> from vae_lab.likelihoods import Bernoulli
    >>> decoder = ConvDecoder(2, [8, 16, 16], Bernoulli(), image_shape=(1, 32, 32))
    >>> decoder(torch.randn(7, 5, 2)).mean.shape
    torch.Size([7, 5, 1, 32, 32])
    """

    def __init__(
        self,
        latent_dim: Width,
        channels: HiddenDims,
        likelihood: Likelihood,
        image_shape: ImageShape = (1, 28, 28),
        kernel: Width = 4,
        stride: Width = 2,
        activation: Activation = "relu",
    ) -> None:
        super().__init__(likelihood, image_shape)
        padding = (kernel - 1) // 2
        heights, widths = (conv_sizes(size, len(channels), kernel, stride)[::-1] for size in image_shape[1:])
        code = (channels[-1], heights[0], widths[0])
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(code)), nn.Unflatten(1, code)]
        widths_of_channels = itertools.pairwise([*reversed(channels), image_shape[0]])
        for (before, after), height, width in zip(widths_of_channels, heights[1:], widths[1:], strict=True):
            # what the division by the stride had cut off
            lost = ((height + 2 * padding - kernel) % stride, (width + 2 * padding - kernel) % stride)
            layers.append(nn.ConvTranspose2d(before, after, kernel, stride, padding, lost))
            layers.append(ACTIVATIONS[activation]())
        self.net = nn.Sequential(*layers[:-1])

    def forward(self, z: Tensor) -> Distribution:
        """The distribution of the images of codes z (…, latent); its samples are (…, channels, height, width)."""
        output = self.net(z.reshape(-1, z.shape[-1]))
        return self.likelihood(output.unflatten(0, z.shape[:-1]))

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value a channel, to the mean over all pixels."""
        last = self.net[-1]
        assert isinstance(last, nn.ConvTranspose2d)
        assert last.bias is not None
        last.bias.data.copy_(self.likelihood.link(mean_image.mean((1, 2))))
