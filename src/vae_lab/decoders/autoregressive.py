"""What decoders that see the image itself share."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import conv2d, silu

from vae_lab.annotations import CodeLength, ImageShape
from vae_lab.decoders.base import Decoder
from vae_lab.distributions.autoregressive import AutoregressiveImage, Column, draw_in_order
from vae_lab.likelihoods import Likelihood


class AutoregressiveDecoder(Decoder, ABC):
    """p(x|z) = Π_t p(x_t | x_<t, z), each factor by the likelihood from the network's outputs at its pixel.

    Args:
        latent_dim: length of z; 0 for p(x) without codes.
        likelihood: turns the network's output into a distribution over images, given the values before each.
        image_shape: (channels, height, width) of the images.
    """

    rows_at_once = 1
    width = 0
    """Number of features of each pixel within the network."""
    shares_images = False
    """Whether ``outputs`` takes fewer images than codes, and computes once for an image what no code has a part in."""

    def __init__(self, latent_dim: CodeLength, likelihood: Likelihood, image_shape: ImageShape) -> None:
        super().__init__(likelihood, image_shape)
        self.latent_dim = latent_dim

    @abstractmethod
    def outputs(self, x: Tensor, z: Tensor) -> Tensor:
        """Outputs of every pixel in one pass, (n, outputs × channels, height, width).

        Args:
            x: images, (n, channels, height, width), or (b, …) where ``shares_images``; an output of channel c depends
                only on values before it.
            z: codes, (n, latent), of which code i is for image i mod b.
        """

    def forward(self, z: Tensor) -> Distribution:
        """p(x|z) of codes z (…, latent); its samples are (…, channels, height, width)."""
        if z.shape[-1] != self.latent_dim:
            raise ValueError(f"codes have {z.shape[-1]} numbers, the decoder expects latent_dim={self.latent_dim}")
        return AutoregressiveImage(self, z, self.image_shape)

    def conditionals(self, x: Tensor, z: Tensor) -> Distribution:
        """p(x_t | x_<t, z) of every value of images x (b, channels, height, width), given codes z (n, latent)."""
        return self.likelihood(self.outputs(x if self.shares_images else for_each(x, z), z))

    @property
    def values_of_image(self) -> int:
        """Number of values that the decoder keeps for an image: the outputs of a pixel, or its ``width`` features."""
        return max(super().values_of_image, self.width * math.prod(self.image_shape[1:]))

    def columns(self, z: Tensor) -> Column:
        """What gives the outputs of one pixel after another: here the whole network for each."""
        return lambda x, row, column: self.outputs(x, z)[:, :, row, column]

    def draw_rest(self, x: Tensor, z: Tensor, rows: int) -> Tensor:
        """Images whose first rows are those of x, and whose other values are drawn one after the other."""
        return draw_in_order(x, rows, self.columns(z), self.likelihood)


def for_each(x: Tensor, z: Tensor) -> Tensor:
    """Images (n, …) for codes z (n, latent), from b images of which image i mod b is that of code i."""
    return x.expand(_codes_of_each(x, z), *x.shape).flatten(0, 1)


def added(of_images: Tensor, of_codes: Tensor) -> Tensor:
    """Sum (n, …) of what b images and n codes say, (b, …) and (n, …), where code i is for image i mod b."""
    return (of_codes.unflatten(0, (_codes_of_each(of_images, of_codes), len(of_images))) + of_images).flatten(0, 1)


def _codes_of_each(of_images: Tensor, of_codes: Tensor) -> int:
    return len(of_codes) // len(of_images) if len(of_images) else 1


class PerPixel(nn.Conv2d):
    """A convolution of kernel 1 as a product of matrices, which takes a third of its time with few channels on a CPU.

    Args:
        inputs: number of channels that it gets.
        outputs: number of channels that it gives.
        bias: whether it adds a number to each channel.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__(inputs, outputs, 1, bias=bias)

    def forward(self, input: Tensor) -> Tensor:
        """Features (n, outputs, height, width) from features (n, inputs, height, width)."""
        weight, pixels = self.weight.flatten(1).expand(len(input), -1, -1), input.flatten(2)
        found = weight @ pixels if self.bias is None else torch.baddbmm(self.bias[:, None], weight, pixels)
        return found.unflatten(2, input.shape[2:])


class ChannelHead(nn.Module):
    """Outputs of the channels of each pixel, each given the channels before it: W₂ SiLU(W₁ h + U x_<c).

    The features of a pixel know the pixels before it; its own channels are seen only here, so that the layers below
    need no groups of channels.

    Args:
        width: number of features h of a pixel.
        channels: number of channels of the images.
        outputs: number of outputs of each pixel and channel.
    """

    before: Tensor

    def __init__(self, width: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.shape = channels, outputs
        self.of_features = PerPixel(width, channels * width)
        self.last = nn.Conv2d(channels * width, channels * outputs, 1, groups=channels)
        if channels > 1:
            self.of_channels = nn.Parameter(torch.randn(channels * width, channels) / channels)
            before = torch.ones(channels, channels).tril(-1).repeat_interleave(width, 0)
            self.register_buffer("before", before, persistent=False)

    def forward(self, features: Tensor, x: Tensor) -> Tensor:
        """Outputs (n, outputs × channels, height, width) from features (n, width, height, width) and b images x."""
        hidden = self.of_features(features)
        if self.shape[0] > 1:
            hidden = added(conv2d(x, (self.of_channels * self.before)[..., None, None]), hidden)
        # from all outputs of a channel to all channels of an output, as likelihoods take them
        return self.last(silu(hidden)).unflatten(1, self.shape).transpose(1, 2).flatten(1, 2)

    def start_at(self, output: Tensor) -> None:
        """Set the last bias to outputs (outputs × channels, 1, 1)."""
        assert self.last.bias is not None
        self.last.bias.data.copy_(output.view(*reversed(self.shape)).T.flatten())
