"""A gated PixelCNN as decoder: two stacks of convolutions that see the pixels above and to the left."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import glu, linear, pad

from vae_lab.annotations import CodeLength, ImageShape, Size, Sizes
from vae_lab.decoders.autoregressive import AutoregressiveDecoder, ChannelHead, PerPixel, added, for_each
from vae_lab.distributions.autoregressive import Column
from vae_lab.likelihoods import Likelihood
from vae_lab.networks import mlp

FEATURE_MAPS = 8


class PixelCNNDecoder(AutoregressiveDecoder):
    """p(x|z) = Π_t p(x_t | x_<t, z) by a gated PixelCNN of two stacks.

    The vertical stack sees all columns of the rows above, the horizontal stack the pixels to the left and, at each
    layer, the vertical one: no earlier pixel within reach is unseen. The first layer leaves out the pixel itself (mask
    A), later ones do not need to (mask B). Kernels have only the places that may be seen, so that nothing is masked. An
    output sees r = first_kernel // 2 + (layers − 1) (kernel // 2) pixels up, left and right. A wide net may leave
    nothing to z.

    Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders (2016),
    https://arxiv.org/abs/1606.05328. Here both stacks are residual, and z enters the horizontal gates, which see the
    vertical stack. For p(x|z): Gulrajani et al., PixelVAE (2016), https://arxiv.org/abs/1611.05013

    Args:
        latent_dim: length of z; 0 for p(x) without codes.
        likelihood: turns the outputs into the distribution of a pixel.
        image_shape: (channels, height, width) of the images.
        hidden_dims: hidden widths of the *encoder*; the network from z to feature maps reverses them.
        layers: number of gated layers.
        width: number of channels of each stack.
        first_kernel: width of the first layer's kernel before masking, in pixels, odd.
        kernel: width of the other layers' kernels before masking, in pixels, odd.
        condition: what z becomes: feature maps that are added to each gate, or a bias of each gate.
        feature_maps: number of feature maps; None for 8, and for ``condition=bias``.

    Raises:
        ValueError: if a kernel is not an odd number from 3, or ``feature_maps`` is given for ``condition=bias``.

    >>> from vae_lab.likelihoods import Bernoulli
    >>> decoder = PixelCNNDecoder(2, Bernoulli(), (1, 6, 6), hidden_dims=[8], layers=2, width=4)
    >>> decoder(torch.randn(3, 5, 2)).log_prob(torch.ones(5, 1, 6, 6)).shape
    torch.Size([3, 5])
    """

    shares_images = True

    def __init__(
        self,
        latent_dim: CodeLength,
        likelihood: Likelihood,
        image_shape: ImageShape,
        hidden_dims: Sizes,
        layers: Size = 5,
        width: Size = 16,
        first_kernel: Size = 7,
        kernel: Size = 3,
        condition: Literal["maps", "bias"] = "maps",
        feature_maps: Size | None = None,
    ) -> None:
        super().__init__(latent_dim, likelihood, image_shape)
        for name, size in {"first_kernel": first_kernel, "kernel": kernel}.items():
            if size < 3 or size % 2 == 0:
                raise ValueError(f"{name}={size} must be an odd number from 3")
        if condition == "bias" and feature_maps is not None:
            raise ValueError(f"feature_maps={feature_maps} has no effect with condition=bias; leave it out")
        self.width = width
        channels, height, places = self.image_shape
        self.of_code, features = _of_code(
            latent_dim, hidden_dims, (feature_maps or FEATURE_MAPS, height, places) if condition == "maps" else None
        )
        self.layers = nn.ModuleList(
            GatedLayer(width if index else channels, width, kernel if index else first_kernel, not index, features)
            for index in range(layers)
        )
        self.head = ChannelHead(width, channels, likelihood.outputs)

    def outputs(self, x: Tensor, z: Tensor) -> Tensor:
        """Outputs of every pixel in one pass, (n, outputs × channels, height, width); the vertical stack sees no z."""
        context = self.of_code(z) if self.latent_dim else None
        above = left = x = x if self.latent_dim else for_each(x, z)
        for layer in self.layers:
            above, left = layer(above, left, context)
        return self.head(left, x)

    def columns(self, z: Tensor) -> Column:
        """What gives the outputs of one pixel after another, and computes of each layer one row and one pixel."""
        return _Columns(self, z)

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value for each output of a channel, to the mean over all pixels."""
        self.head.start_at(self._output_at(mean_image))


def _of_code(latent_dim: int, hidden_dims: Sizes, maps: ImageShape | None) -> tuple[nn.Sequential, int]:
    """The network from codes to what each gate sees of them, and the number of its channels; without maps z itself."""
    if not latent_dim:
        return nn.Sequential(), 0
    if maps is None:
        return nn.Sequential(nn.Unflatten(1, (latent_dim, 1, 1))), latent_dim
    net = mlp([latent_dim, *reversed(hidden_dims), math.prod(maps)])
    return nn.Sequential(net, nn.SiLU(), nn.Unflatten(1, maps)), maps[0]


class GatedLayer(nn.Module):
    """One layer of both stacks: u = gate(K ∗ v), v ← v + u, h ← h + W gate(k ∗ h + W′ u + c).

    gate(a, b) = a sigmoid(b), which takes less time than tanh(a) sigmoid(b): Dauphin et al., Language Modeling with
    Gated Convolutional Networks (2017), https://arxiv.org/abs/1612.08083. c is what z adds.

    Args:
        inputs: number of channels that it gets.
        width: number of channels that it gives.
        kernel: width of the kernel before masking, in pixels.
        first: whether it sees the image itself, and so leaves out the pixel of its output.
        context: number of channels of what is known of z; 0 for none.
    """

    def __init__(self, inputs: int, width: int, kernel: int, first: bool, context: int) -> None:
        super().__init__()
        self.reach, self.first = kernel // 2, first
        seen = self.reach if first else self.reach + 1
        self.vertical = nn.Conv2d(inputs, 2 * width, (seen, kernel))
        self.horizontal = nn.Conv2d(inputs, 2 * width, (1, seen))
        self.across, self.mix = PerPixel(width, 2 * width), PerPixel(width, width)
        self.of_context = PerPixel(context, 2 * width, bias=False) if context else None

    def forward(self, above: Tensor, left: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Both stacks of all pixels, (b, width, height, width) and (n, width, height, width).

        Args:
            above: vertical stack, or images for the first layer, (b, inputs, height, width).
            left: horizontal stack, (n, inputs, height, width), or images for the first layer, (b, …).
            context: what is known of z, (n, context, height, width), or 1 in place of both sizes.
        """
        padded = pad(above, (self.reach, self.reach, self.reach, 0))
        # the first layer's kernel ends before the pixel, so that the last place is one too many
        up = glu(self.vertical(padded[..., :-1, :] if self.first else padded), 1)
        beside = pad(left, (self.reach, 0))
        row = self.horizontal(beside[..., :-1] if self.first else beside)
        mixed = self.mix(glu(self.joined(row, up, context), 1))
        return (up, mixed) if self.first else (above + up, left + mixed)

    def joined(self, row: Tensor, up: Tensor, context: Tensor | None) -> Tensor:
        """What the horizontal gate gets of the row so far, of the vertical stack, and of z."""
        found = added(self.across(up), row)
        return found if self.of_context is None else added(found, self.of_context(context))


class _Columns:
    """Outputs of one pixel after another; the vertical stack advances row by row, the horizontal one pixel by pixel.

    Args:
        decoder: the decoder whose layers are computed.
        z: code of each image, (n, latent).
    """

    def __init__(self, decoder: PixelCNNDecoder, z: Tensor) -> None:
        context = decoder.of_code(z) if decoder.latent_dim else None
        self.cursors = [_Cursor(layer, context) for layer in decoder.layers if isinstance(layer, GatedLayer)]
        self.head = decoder.head
        self.row = self.place = -1

    def __call__(self, x: Tensor, row: int, place: int) -> Tensor:
        """Outputs (n, outputs × channels) of a pixel of images x that are complete before it."""
        while self.row < row:
            self.row, self.place = self.row + 1, -1
            above = _before(x, self.row, 2)
            for cursor in self.cursors:
                above = cursor.next_row(above, self.row)
        while self.place < place:
            self.place += 1
            left = _before(x[:, :, row : row + 1], self.place, 3)
            for cursor in self.cursors:
                left = cursor.next_place(left, self.place)
            self.left = left
        return self.head(self.left, x[:, :, row : row + 1, place : place + 1])[:, :, 0, 0]


def _before(x: Tensor, index: int, dim: int) -> Tensor:
    """The part of images before an index along a dimension, one wide; zeros before the first."""
    return x.narrow(dim, index - 1, 1) if index else torch.zeros_like(x.narrow(dim, 0, 1))


class _Cursor:
    """What one layer keeps of the rows above and of the pixels to the left of where it is."""

    above: Tensor
    given: Tensor
    left: Tensor

    def __init__(self, layer: GatedLayer, context: Tensor | None) -> None:
        self.layer = layer
        self.added = 0.0 if layer.of_context is None else layer.of_context(context)

    def next_row(self, new: Tensor, row: int) -> Tensor:
        """Vertical stack of a row, (n, width, 1, width of the image), from the last row that the layer sees."""
        layer = self.layer
        rows = layer.vertical.kernel_size[0]
        above = pad(new, (0, 0, rows - 1, 0)) if row == 0 else torch.cat((self.above[:, :, 1:], new), 2)
        up = glu(layer.vertical(pad(above, (layer.reach, layer.reach))), 1)
        self.above, self.given = above, layer.across(up) + _row(self.added, row)
        return up if layer.first else new + up

    def next_place(self, new: Tensor, place: int) -> Tensor:
        """Horizontal stack of a pixel, (n, width, 1, 1), from the last pixel that the layer sees."""
        layer = self.layer
        seen = layer.horizontal.kernel_size[1]
        self.left = pad(new, (seen - 1, 0)) if place == 0 else torch.cat((self.left[..., 1:], new), 3)
        # as products of matrices, which take less time for one pixel than convolutions
        row = linear(self.left.flatten(1), layer.horizontal.weight.flatten(1), layer.horizontal.bias)
        gated = glu(row + self.given[:, :, 0, place], 1)
        mixed = linear(gated, layer.mix.weight.flatten(1), layer.mix.bias)[..., None, None]
        return mixed if layer.first else new + mixed


def _row(added: Tensor | float, row: int) -> Tensor | float:
    """A row of what z adds, or all of it where it is the same for every row."""
    return added[:, :, row : row + 1] if isinstance(added, Tensor) and added.shape[2] > 1 else added
