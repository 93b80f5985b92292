"""An encoder of strided convolutions."""

import itertools

from torch import nn

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.encoders.base import Encoder
from vae_lab.networks import ACTIVATIONS, Activation, conv_sizes
from vae_lab.posteriors import Posterior


class ConvEncoder(Encoder):
    """q(z|x) = posterior(f(x)), with f strided convolutions and one linear layer.

    The default for 28 × 28 pixels is 28 × 28 → 14 × 14 × 32 → 7 × 7 × 64 → the posterior's numbers.

    Args:
        latent_dim: length of z.
        channels: channels of the convolutions, from the image to the code.
        image_shape: (channels, height, width) of the images.
        kernel: width of each convolution, in pixels; its padding is (kernel − 1) // 2.
        stride: stride of each convolution, in pixels.
        activation: function after each convolution.
        posterior: family of q(z|x); None is a diagonal normal.

    Raises:
        ValueError: if the convolutions leave nothing of the image.

    >>> import torch
    >>> ConvEncoder(latent_dim=2, channels=[8, 16], image_shape=(3, 20, 30))(torch.rand(5, 3, 20, 30)).event_shape
    torch.Size([2])
    """

    def __init__(
        self,
        latent_dim: Size,
        channels: Sizes,
        image_shape: ImageShape,
        kernel: Size = 4,
        stride: Size = 2,
        activation: Activation = "relu",
        posterior: Posterior | None = None,
    ) -> None:
        super().__init__(latent_dim, posterior)
        self.image_shape = image_shape[0], image_shape[1], image_shape[2]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([image_shape[0], *channels]):
            layers += [nn.Conv2d(before, after, kernel, stride, (kernel - 1) // 2), ACTIVATIONS[activation]()]
        height, width = (conv_sizes(size, len(channels), kernel, stride)[-1] for size in image_shape[1:])
        numbers = nn.Linear(channels[-1] * height * width, self.posterior.inputs)
        self.net = nn.Sequential(*layers, nn.Flatten(), numbers)
