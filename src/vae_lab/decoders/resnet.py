"""A decoder of residual blocks."""

import itertools
import math

from torch import Tensor, nn

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.decoders.base import Decoder
from vae_lab.likelihoods import Likelihood
from vae_lab.networks import ACTIVATIONS, Activation, Norm, ResidualBlock, halved, norm_of


class ResNetDecoder(Decoder):
    """p(x|z) = likelihood(f(z)), with f a linear layer and the sizes of a residual encoder in reverse.

    The default for 32 × 32 pixels is latent → 8 × 8 × 64 → 16 × 16 × 32 → 32 × 32 × 32 → the output: residual blocks at
    each size but the last, then nearest neighbours to the next size and a convolution. What comes last is a linear map
    within each pixel, so that many outputs of a pixel, as for 256 levels, take little time.

    Source: He et al., Identity Mappings in Deep Residual Networks (2016), https://arxiv.org/abs/1603.05027.
    Convolutions after nearest neighbours leave no pattern of squares: Odena et al., Deconvolution and Checkerboard
    Artifacts (2016), https://distill.pub/2016/deconv-checkerboard/

    Args:
        latent_dim: length of z.
        channels: channels of the *encoder*, from the image to the code; the decoder reverses them.
        likelihood: turns f's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        blocks: number of residual blocks at each size.
        activation: function before each convolution of a block.
        norm: what normalises the maps before each activation: batch, group or none.

    Raises:
        ValueError: if the encoder's convolutions would find a single pixel.

    >>> import torch
    >>> from vae_lab.likelihoods import Bernoulli
    >>> ResNetDecoder(2, [8, 16], Bernoulli(), image_shape=(3, 21, 30))(torch.randn(7, 5, 2)).mean.shape
    torch.Size([7, 5, 3, 21, 30])
    """

    def __init__(
        self,
        latent_dim: Size,
        channels: Sizes,
        likelihood: Likelihood,
        image_shape: ImageShape,
        blocks: Size = 1,
        activation: Activation = "silu",
        norm: Norm = "group",
    ) -> None:
        super().__init__(likelihood, image_shape)
        smallest, *sizes = reversed(halved(self.image_shape[1:], len(channels)))
        code = (channels[-1], *smallest)
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(code)), nn.Unflatten(1, code)]
        for (before, after), size in zip(itertools.pairwise([*reversed(channels), channels[0]]), sizes, strict=True):
            layers += [ResidualBlock(before, activation, norm) for _ in range(blocks)]
            layers += [nn.Upsample(size), nn.Conv2d(before, after, 3, padding=1)]
        layers += [norm_of(norm, channels[0]), ACTIVATIONS[activation]()]
        self.net = nn.Sequential(*layers, nn.Conv2d(channels[0], self.output_shape[0], 1))

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value for each output of a channel, to the mean over all pixels."""
        self._start_net_at(self._output_at(mean_image))
