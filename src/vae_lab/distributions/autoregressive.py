"""Distributions over images in which each value depends on those before it."""

from collections.abc import Callable
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from vae_lab.distributions.images import check_shape

Column = Callable[[Tensor, int, int], Tensor]
"""From images (n, channels, height, width), a row and a column to the outputs (n, outputs × channels) of that pixel."""


class Network(Protocol):
    """A network that sees the image itself, and of it only what comes before each value."""

    rows_at_once: int
    """Number of rows whose pixels may depend on each other in another order than row by row."""

    def conditionals(self, x: Tensor, z: Tensor) -> Distribution:
        """p(x_t | x_<t, z) of every t in one pass (teacher forcing), as one distribution over n images.

        Args:
            x: images, (b, channels, height, width), with n a multiple of b: the codes of an image share what does not
                depend on them.
            z: codes, (n, latent), of which code i is for image i mod b; latent = 0 for a network without codes.
        """
        ...

    def draw_rest(self, x: Tensor, z: Tensor, rows: int) -> Tensor:
        """Images whose first rows are those of x, and whose other values are drawn in order.

        Args:
            x: images, (n, channels, height, width); what they have from that row on is of no effect.
            z: code of each image, (n, latent).
            rows: number of rows that are kept.
        """
        ...


class AutoregressiveImage(Distribution):
    """p(x|z) = Π_t p(x_t | x_<t, z), the values in raster order: by row, then by column, then by channel.

    It has no mean: an image to look at is a draw. Source: van den Oord et al., Pixel Recurrent Neural Networks (2016),
    https://arxiv.org/abs/1601.06759

    Args:
        network: gives the distribution of every value given those before it.
        z: codes, (…, latent); the batch shape is that of the codes.
        image_shape: (channels, height, width) of the images.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    has_rsample = False

    def __init__(self, network: Network, z: Tensor, image_shape: tuple[int, int, int]) -> None:
        super().__init__(z.shape[:-1], torch.Size(image_shape), validate_args=False)
        self.network, self.z = network, z

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of images (…, channels, height, width) in nats, (…), in one pass of the network."""
        x, z, lead = self._together(value)
        own = value.shape[:-3]
        images = value.reshape(-1, *self.event_shape) if own and own == lead[-len(own) :] else x
        return self.network.conditionals(images, z).log_prob(x).view(lead)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Images drawn value by value, (sample_shape, …, channels, height, width)."""
        return self.sample_given(self.z.new_zeros(*sample_shape, *self.batch_shape, *self.event_shape), 0)

    @torch.no_grad()
    def sample_given(self, value: Tensor, rows: int) -> Tensor:
        """Images drawn given their first rows, (…, channels, height, width).

        Args:
            value: images, (…, channels, height, width), whose first rows are kept.
            rows: number of rows that are kept, a multiple of the network's ``rows_at_once``.

        Raises:
            ValueError: if there are no such rows, or their number is no such multiple.
        """
        at_once = self.network.rows_at_once
        if not 0 <= rows <= self.event_shape[-2] or rows % at_once:
            raise ValueError(f"rows={rows} must be a multiple of {at_once} from 0 to {self.event_shape[-2]}")
        x, z, lead = self._together(value)
        return self.network.draw_rest(x, z, rows).view(*lead, *self.event_shape)

    def _together(self, value: Tensor) -> tuple[Tensor, Tensor, torch.Size]:
        """Images (n, channels, height, width) and their codes (n, latent), and the shape of the n."""
        check_shape(value, self.event_shape)
        lead = torch.broadcast_shapes(value.shape[:-3], self.batch_shape)
        x = value.expand(*lead, *self.event_shape).reshape(lead.numel(), *self.event_shape)
        return x, self.z.expand(*lead, -1).reshape(lead.numel(), self.z.shape[-1]), lead


def draw_in_order(x: Tensor, rows: int, column: Column, likelihood: Callable[[Tensor], Distribution]) -> Tensor:
    """Images whose first rows are those of x, and whose other values are drawn one after the other.

    The noise does not depend on how the outputs are computed: two functions that give the same outputs give the same
    images from the same random state.

    Args:
        x: images, (n, channels, height, width).
        rows: number of rows that are kept.
        column: gives the outputs of a pixel, (n, outputs × channels), from images that are complete before it; called
            once for each channel, in order.
        likelihood: turns outputs (n, outputs × channels, 1, 1) into the distribution of a pixel.
    """
    channels, height, width = x.shape[-3:]
    x = x.clone()
    x[..., rows:, :] = 0
    for row in range(rows, height):
        for place in range(width):
            for channel in range(channels):
                drawn = likelihood(column(x, row, place)[..., None, None]).sample()
                x[:, channel, row, place] = drawn[:, channel, 0, 0]
    return x
