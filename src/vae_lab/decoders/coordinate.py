"""A decoder that is asked for one position after another, and so gives images of every size."""

import math
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.decoders.base import Decoder
from vae_lab.likelihoods import Likelihood
from vae_lab.networks import ACTIVATIONS, Activation, mlp

Frequencies = Annotated[int, Field(ge=1, le=16)]
AT_ONCE = 2**23  # hidden numbers at once where no gradient is kept: 32 MB


class CoordinateDecoder(Decoder):
    """p(pixel | z, position) = likelihood(g(W γ(position) + U f(z))), one network g for the pixels of all positions.

        γ(p) = (p, sin 2⁰πp, cos 2⁰πp, …, sin 2^(F−1)πp, cos 2^(F−1)πp),   p = (y, x) in [−1, 1]²

    Pixel i of n in a row is at p = (2i + 1) / n − 1, its middle, at every size: a size only says which positions are
    asked for, so images of different sizes cover the same square, and agree exactly where their pixels' middles meet
    (at sizes whose ratio is odd). The positions' part W γ and the codes' part U f(z) are each computed once and added.
    Frequencies far above the training images' own, 2^(F−1) > n/2, are free between their pixels: keep F small.

    Source: Mildenhall et al., NeRF: Representing Scenes as Neural Radiance Fields for View Synthesis (2020), section
    5.1, https://arxiv.org/abs/2003.08934

    Args:
        latent_dim: length of z.
        hidden_dims: hidden widths of the *encoder*, from the image to the code; f reverses them.
        likelihood: turns g's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        width: width of each hidden layer of g.
        layers: number of hidden layers of g.
        frequencies: number F of frequencies along each axis.
        activation: function between the layers.

    >>> from vae_lab.likelihoods import Bernoulli
    >>> decoder = CoordinateDecoder(2, [32, 16], Bernoulli(), image_shape=(1, 28, 28), width=8)
    >>> decoder(torch.randn(7, 2)).mean.shape, decoder.of_size(torch.randn(7, 2), 56, 40).mean.shape
    (torch.Size([7, 1, 28, 28]), torch.Size([7, 1, 56, 40]))
    """

    positions: Tensor

    def __init__(
        self,
        latent_dim: Size,
        hidden_dims: Sizes,
        likelihood: Likelihood,
        image_shape: ImageShape,
        width: Size = 96,
        layers: Size = 2,
        frequencies: Frequencies = 4,
        activation: Activation = "silu",
    ) -> None:
        super().__init__(likelihood, image_shape)
        self.frequencies, self.width = frequencies, width
        # the last activation of f is that before U
        self.of_code = nn.Sequential(*mlp([latent_dim, *reversed(hidden_dims)], activation), ACTIVATIONS[activation]())
        self.code_in = nn.Linear(hidden_dims[0], width)
        self.position_in = nn.Linear(2 + 4 * frequencies, width, bias=False)
        self.net = nn.Sequential(ACTIVATIONS[activation](), *mlp([*[width] * layers, self.output_shape[0]], activation))
        self.register_buffer("positions", features(*self.image_shape[1:], frequencies), persistent=False)

    def forward(self, z: Tensor) -> Distribution:
        """p(x|z) of codes z (…, latent); its samples are (…, channels, height, width)."""
        return self._at(self.positions, z, *self.image_shape[1:])

    def of_size(self, z: Tensor, height: int, width: int) -> Distribution:
        """p(x|z) of codes z (…, latent) for images of another size, in pixels."""
        return self._at(features(height, width, self.frequencies).to(z), z, height, width)

    def _at(self, positions: Tensor, z: Tensor, height: int, width: int) -> Distribution:
        of_positions, codes = self.position_in(positions), z.reshape(-1, z.shape[-1])
        # with a gradient the hidden layers of all images are kept anyway
        images = len(codes) if torch.is_grad_enabled() else max(1, AT_ONCE // (len(positions) * self.width))
        parts = [self.net(of_positions + self.code_in(self.of_code(part))[:, None]) for part in codes.split(images)]
        output = torch.cat(parts).transpose(1, 2)
        return self.likelihood(output.reshape(*z.shape[:-1], -1, height, width))

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value for each output of a channel, to the mean over all pixels."""
        self._start_net_at(self._output_at(mean_image))


def features(height: int, width: int, frequencies: int) -> Tensor:
    """Fourier features γ of the middle of every pixel, (height × width, 2 + 4 · frequencies).

    Args:
        height: number of rows of pixels.
        width: number of columns of pixels.
        frequencies: number of frequencies along each axis.
    """
    # in double precision, so that equal positions of different sizes have equal features
    rows, columns = ((2 * torch.arange(n, dtype=torch.float64) + 1) / n - 1 for n in (height, width))
    p = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).view(-1, 2)
    angles = (p[:, None] * math.pi * 2.0 ** torch.arange(frequencies, dtype=torch.float64)[:, None]).flatten(1)
    return torch.cat((p, angles.sin(), angles.cos()), -1).to(torch.get_default_dtype())
