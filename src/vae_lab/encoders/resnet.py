"""An encoder of residual blocks."""

import itertools

from torch import nn

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.encoders.base import Encoder
from vae_lab.networks import ACTIVATIONS, Activation, Norm, ResidualBlock, halved, norm_of
from vae_lab.posteriors import Posterior


class ResNetEncoder(Encoder):
    """q(z|x) = posterior(f(x)), with f convolutions of stride 2, residual blocks after each, and one linear layer.

    The default for 32 × 32 pixels is 32 × 32 → 16 × 16 × 32 → 8 × 8 × 64 → the posterior's numbers. Each convolution
    halves a size n to ⌈n / 2⌉, so that every size fits.

    Source: He et al., Identity Mappings in Deep Residual Networks (2016), https://arxiv.org/abs/1603.05027

    Args:
        latent_dim: length of z.
        channels: channels at each size, from the image to the code.
        image_shape: (channels, height, width) of the images.
        blocks: number of residual blocks at each size.
        activation: function before each convolution of a block.
        norm: what normalises the maps before each activation: batch, group or none.
        posterior: family of q(z|x); None is a diagonal normal.

    Raises:
        ValueError: if a convolution would find a single pixel.

    >>> import torch
    >>> ResNetEncoder(latent_dim=2, channels=[8, 16], image_shape=(3, 21, 30))(torch.rand(5, 3, 21, 30)).batch_shape
    torch.Size([5])
    """

    def __init__(
        self,
        latent_dim: Size,
        channels: Sizes,
        image_shape: ImageShape,
        blocks: Size = 1,
        activation: Activation = "silu",
        norm: Norm = "group",
        posterior: Posterior | None = None,
    ) -> None:
        super().__init__(latent_dim, posterior)
        self.image_shape = image_shape[0], image_shape[1], image_shape[2]
        height, width = halved(self.image_shape[1:], len(channels))[-1]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([image_shape[0], *channels]):
            layers.append(nn.Conv2d(before, after, 3, stride=2, padding=1))
            layers += [ResidualBlock(after, activation, norm) for _ in range(blocks)]
        layers += [norm_of(norm, channels[-1]), ACTIVATIONS[activation](), nn.Flatten()]
        self.net = nn.Sequential(*layers, nn.Linear(channels[-1] * height * width, self.posterior.inputs))
