"""What an MLP or convolutional decoder becomes when its last layer looks at the pixels before each pixel."""

from abc import abstractmethod
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution
from torch.nn.functional import glu, linear, pad

from vae_lab.annotations import ImageShape, Size
from vae_lab.decoders.autoregressive import AutoregressiveDecoder, added
from vae_lab.decoders.base import Decoder
from vae_lab.distributions.autoregressive import Column
from vae_lab.likelihoods import Likelihood

Kernel = Annotated[int, Field(ge=0, le=101)]
Layers = Annotated[int, Field(ge=0, le=100)]

FEATURE_MAPS, WIDTH, LAYERS = 8, 32, 0


class Masked(NamedTuple):
    """How a decoder looks at the pixels before each pixel.

    Args:
        kernel: width of the window of pixels, odd; 0 looks at none.
        feature_maps: number of maps that the network makes of z, None for 8.
        width: number of hidden units of each pixel, None for 32.
        layers: number of further gated layers, each within a pixel, None for 0.
    """

    kernel: int = 0
    feature_maps: int | None = None
    width: int | None = None
    layers: int | None = None


class MaskedHead(nn.Module):
    """Outputs of each pixel from maps of z and the window of pixels before it, one network for all pixels.

        h₁ = GLU(W [window(x), maps(z)] + b),   h_{l+1} = h_l + GLU(W_l h_l + b_l),   output = V h + U maps(z) + c

    with GLU(a, b) = a · sigmoid(b). The window has (kernel − 1)/2 rows above the pixel and the pixels at its left, so
    W is a masked kernel × kernel convolution; further layers are within the pixel and widen nothing. Of the pixel's own
    channels a channel sees the earlier ones: hidden units belong to channels in turn, and masks keep each from later
    ones. U is the way of z to the output that the window has no part in: without it the window alone learns faster than
    the maps, and z is left unused for long. A pixel is a row of a matrix here: products of such matrices take half of a
    convolution's time with few input channels.

    Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders (2016),
    https://arxiv.org/abs/1606.05328, whose gate is tanh(a) · sigmoid(b); a · sigmoid(b) takes two thirds of its time:
    Dauphin et al., Language Modeling with Gated Convolutional Networks (2017), https://arxiv.org/abs/1612.08083

    Args:
        masked: window, maps and widths.
        outputs: number of outputs for each pixel and channel.
        image_shape: (channels, height, width) of the images.

    Raises:
        ValueError: if the kernel is even or 1, or there are fewer hidden units than channels.
    """

    taps: Tensor
    mask_first: Tensor
    mask_between: Tensor
    mask_last: Tensor

    def __init__(self, masked: Masked, outputs: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, height, columns = image_shape
        self.width = width = masked.width or WIDTH
        layers = LAYERS if masked.layers is None else masked.layers
        self.feature_maps = masked.feature_maps or FEATURE_MAPS
        if masked.kernel % 2 == 0 or masked.kernel == 1:
            reason = "sees no other pixel; use 3" if masked.kernel == 1 else f"has no middle; use {masked.kernel + 1}"
            raise ValueError(f"masked_kernel={masked.kernel} {reason}")
        if width < channels:
            raise ValueError(f"masked_width={width} must be at least {channels}, one unit for each channel")
        self.image_shape, self.reach = image_shape, masked.kernel // 2
        self.seen = masked.kernel * self.reach + self.reach + 1  # pixels of the window; the last is the pixel itself
        self.first = nn.Linear(channels * self.seen + self.feature_maps, 2 * width)
        self.between = nn.ModuleList(nn.Linear(width, 2 * width) for _ in range(layers))
        self.last = nn.Linear(width, outputs * channels)
        self.direct = nn.Linear(self.feature_maps, outputs * channels, bias=False)
        self.register_buffer("taps", _taps(height, columns, self.reach), persistent=False)
        for name, mask in zip(("first", "between", "last"), self._masks(channels, width), strict=True):
            self.register_buffer(f"mask_{name}", mask, persistent=False)

    def _masks(self, channels: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
        """1 where an input may have an effect: of the first layer, of those between, and of the last."""
        unit, channel = torch.arange(2 * width) % width % channels, torch.arange(channels)
        window = torch.ones(2 * width, channels, self.seen)
        window[..., -1] = unit[:, None] > channel
        first = torch.cat((window.flatten(1), torch.ones(2 * width, self.feature_maps)), 1)
        output = torch.arange(self.last.out_features) % channels
        between, last = (of[:, None] >= unit[None, :width] for of in (unit, output))
        return first, between.float(), last.float()

    def forward(self, x: Tensor, maps: Tensor) -> Tensor:
        """Outputs of every pixel, (n, outputs × channels, height, width).

        Args:
            x: images, (b, channels, height, width).
            maps: maps of z, (n, height × width, feature_maps), of which those of index i are for image i mod b.
        """
        channels, height, width = self.image_shape
        padded = pad(x, (self.reach, self.reach, self.reach, 0)).flatten(2)
        windows = padded.index_select(2, self.taps).view(len(x), channels, height * width, self.seen)
        found = self.of_pixels(windows.transpose(1, 2).flatten(2), maps)
        return found.transpose(1, 2).unflatten(2, (height, width))

    def at(self, x: Tensor, maps: Tensor, row: int, column: int) -> Tensor:
        """Outputs of one pixel, (n, outputs × channels): only its window is looked at.

        Args:
            x: images, (n, channels, height, width), complete before that pixel.
            maps: maps of z, (n, height × width, feature_maps).
            row: row of the pixel.
            column: column of the pixel.
        """
        reach, width = self.reach, self.image_shape[2]
        above, left, right = max(0, row - reach), max(0, column - reach), min(width, column + reach + 1)
        missing = (reach - column + left, column + reach + 1 - right, reach - row + above, 0)
        window = pad(x[:, :, above : row + 1, left:right], missing).flatten(2)[:, :, : self.seen]
        return self.of_pixels(window.flatten(1), maps[:, row * width + column])

    def of_pixels(self, windows: Tensor, maps: Tensor) -> Tensor:
        """Outputs of pixels, (n, …, outputs × channels).

        Args:
            windows: values before each pixel and its own, (b, …, channels × window).
            maps: maps of z there, (n, …, feature_maps).
        """
        last, weight, bias = self.last, self.first.weight * self.mask_first, self.first.bias
        if len(windows) == len(maps):
            h = linear(torch.cat((windows, maps), -1), weight, bias)
        else:  # a sum of two products takes longer than one, and less time where the first is for many codes
            of_windows, of_maps = weight.split((windows.shape[-1], maps.shape[-1]), 1)
            h = added(linear(windows, of_windows, bias), linear(maps, of_maps))
        h = glu(h, -1)
        for layer in self.between:
            assert isinstance(layer, nn.Linear)
            h = h + glu(linear(h, layer.weight * self.mask_between, layer.bias), -1)
        return linear(h, last.weight * self.mask_last, last.bias) + self.direct(maps)


def _taps(height: int, width: int, reach: int) -> Tensor:
    """Place of every value of every pixel's window in the padded image, flat, (height × width × window)."""
    wide = width + 2 * reach
    corner = torch.arange(height)[:, None] * wide + torch.arange(width)
    window = torch.arange(reach + 1)[:, None] * wide + torch.arange(2 * reach + 1)
    # the window's last row ends with the pixel itself
    return (corner.flatten()[:, None] + window.flatten()[: -reach or None]).flatten()


class MaskedDecoder(AutoregressiveDecoder):
    """p(x|z) = likelihood(network(z)), or Π_t p(x_t | x_<t, z) where the last layer also sees the pixels before each.

    A subclass makes ``net``, whose output has ``output_shape``.

    Args:
        latent_dim: length of z.
        likelihood: turns the network's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        masked: window of pixels that the last layer sees, and its sizes.

    Raises:
        ValueError: if the window is even, or sizes of it are given and there is none.
    """

    net: nn.Sequential
    shares_images = True

    def __init__(self, latent_dim: Size, likelihood: Likelihood, image_shape: ImageShape, masked: Masked) -> None:
        super().__init__(latent_dim, likelihood, image_shape)
        self.head: MaskedHead | None = None
        if not masked.kernel:
            given = {"feature_maps": masked.feature_maps, "masked_width": masked.width, "masked_layers": masked.layers}
            odd = next((name for name, value in given.items() if value is not None), None)
            if odd is not None:
                raise ValueError(f"{odd}={given[odd]} has no effect without masked_kernel; give that too, such as 7")
            return
        self.head = MaskedHead(masked, likelihood.outputs, self.image_shape)
        self.width, self.output_shape = self.head.width, (self.head.feature_maps, *self.image_shape[1:])

    def forward(self, z: Tensor) -> Distribution:
        """p(x|z) of codes z (…, latent); its samples are (…, channels, height, width)."""
        return Decoder.forward(self, z) if self.head is None else super().forward(z)

    @abstractmethod
    def maps(self, z: Tensor) -> Tensor:
        """Maps of codes z (n, latent), as rows of pixels, (n, height × width, feature_maps)."""

    def outputs(self, x: Tensor, z: Tensor) -> Tensor:
        """Outputs of every pixel in one pass, (n, outputs × channels, height, width); windows are the images' alone."""
        assert self.head is not None
        return self.head(x, self.maps(z))

    def columns(self, z: Tensor) -> Column:
        """What gives the outputs of one pixel after another: the network of z once, then only each pixel's window."""
        maps, head = self.maps(z), self.head
        assert head is not None
        return lambda x, row, column: head.at(x, maps, row, column)

    def _start_head_at(self, mean_image: Tensor) -> bool:
        """Set the head's last bias, one value for each output of a channel; false where there is no head."""
        if self.head is None:
            return False
        self.head.last.bias.data.copy_(self._output_at(mean_image).flatten())
        return True
