"""A discriminator of linear layers."""

import itertools
import math

from torch import nn

from vae_lab.annotations import ImageShape, Sizes
from vae_lab.discriminators.base import SLOPE, Discriminator


class MLPDiscriminator(Discriminator):
    """D(x) = network(x), with a multi-layer perceptron.

    Args:
        hidden_dims: widths of the hidden layers, from the image to the number.
        image_shape: (channels, height, width) of the images.
        spectral_norm: whether each weight matrix is divided by its largest singular value.

    >>> import torch
    >>> MLPDiscriminator(hidden_dims=[32], image_shape=(1, 28, 28))(torch.rand(5, 1, 28, 28)).shape
    torch.Size([5])
    """

    def __init__(self, hidden_dims: Sizes, image_shape: ImageShape, spectral_norm: bool = True) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise([math.prod(image_shape), *hidden_dims]):
            layers += [nn.Linear(before, after), nn.LeakyReLU(SLOPE)]
        super().__init__([*layers, nn.Linear(hidden_dims[-1], 1)], image_shape, spectral_norm)
