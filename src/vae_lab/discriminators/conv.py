"""A discriminator of strided convolutions."""

import itertools

from torch import nn

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.discriminators.base import SLOPE, Discriminator
from vae_lab.networks import conv_sizes


class ConvDiscriminator(Discriminator):
    """D(x) = network(x), with strided convolutions and one linear layer: the discriminator of a DCGAN.

    Args:
        channels: channels of the convolutions, from the image to the number.
        image_shape: (channels, height, width) of the images.
        kernel: width of each convolution, in pixels; its padding is (kernel − 1) // 2.
        stride: stride of each convolution, in pixels.
        spectral_norm: whether each weight, as a matrix with a row for each channel that it gives, is divided by its
            largest singular value.

    Raises:
        ValueError: if the convolutions leave nothing of the image.

    >>> import torch
    >>> ConvDiscriminator(channels=[8, 16], image_shape=(3, 20, 30))(torch.rand(5, 3, 20, 30)).shape
    torch.Size([5])
    """

    def __init__(
        self, channels: Sizes, image_shape: ImageShape, kernel: Size = 4, stride: Size = 2, spectral_norm: bool = True
    ) -> None:
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([image_shape[0], *channels]):
            layers += [nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2), nn.LeakyReLU(SLOPE)]
        height, width = (conv_sizes(size, len(channels), kernel, stride)[-1] for size in image_shape[1:])
        last = nn.Linear(channels[-1] * height * width, 1)
        super().__init__([*layers, nn.Flatten(), last], image_shape, spectral_norm)
