"""A decoder of transposed convolutions."""

import itertools
import math

from torch import Tensor, nn

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.decoders.masked import Kernel, Layers, Masked, MaskedDecoder
from vae_lab.likelihoods import Likelihood
from vae_lab.networks import ACTIVATIONS, Activation, Norm, conv_sizes, norm_of


class ConvDecoder(MaskedDecoder):
    """p(x|z) = likelihood(f(z)), with f a linear layer and the encoder's convolutions transposed.

    The default for 28 × 28 pixels is latent → 7 × 7 × 64 → 14 × 14 × 32 → 28 × 28. Output padding restores the size
    before the encoder's layer, so every list of channels fits every image.

    Args:
        latent_dim: length of z.
        channels: channels of the *encoder*, from the image to the code; the decoder reverses them.
        likelihood: turns f's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        kernel: width of each convolution, in pixels; its padding is (kernel − 1) // 2.
        stride: stride of each convolution, in pixels.
        activation: function between the convolutions; the linear layer has none, as in the course sheet, unless its
            maps are normalised.
        norm: what normalises the maps before each convolution: batch, as in Radford et al., DCGAN (2016),
            https://arxiv.org/abs/1511.06434, group, or none.
        masked_kernel: width of the window of pixels that each pixel sees the earlier ones of, in pixels, odd; 0 for
            independent pixels.
        feature_maps: with a window, number of maps of z that f gives in place of the output; None is 8.
        masked_width: with a window, number of hidden units of each pixel; None is 32.
        masked_layers: with a window, number of further gated layers within each pixel; None is 0.

    Raises:
        ValueError: if the convolutions leave nothing of the image, the window is even, or sizes of it are given and
            there is none.

    >>> import torch
    >>> from vae_lab.likelihoods import Bernoulli
    >>> decoder = ConvDecoder(2, [8, 16, 16], Bernoulli(), image_shape=(1, 32, 32))
    >>> decoder(torch.randn(7, 5, 2)).mean.shape
    torch.Size([7, 5, 1, 32, 32])
    """

    def __init__(
        self,
        latent_dim: Size,
        channels: Sizes,
        likelihood: Likelihood,
        image_shape: ImageShape,
        kernel: Size = 4,
        stride: Size = 2,
        activation: Activation = "relu",
        norm: Norm = "none",
        masked_kernel: Kernel = 0,
        feature_maps: Size | None = None,
        masked_width: Size | None = None,
        masked_layers: Layers | None = None,
    ) -> None:
        masked = Masked(masked_kernel, feature_maps, masked_width, masked_layers)
        super().__init__(latent_dim, likelihood, image_shape, masked)
        padding = (kernel - 1) // 2
        heights, widths = (conv_sizes(size, len(channels), kernel, stride)[::-1] for size in image_shape[1:])
        code = (channels[-1], heights[0], widths[0])
        layers: list[nn.Module] = [nn.Linear(latent_dim, math.prod(code)), nn.Unflatten(1, code)]
        of_channels = itertools.pairwise([*reversed(channels), self.output_shape[0]])
        for i, ((before, after), height, width) in enumerate(zip(of_channels, heights[1:], widths[1:], strict=True)):
            if norm != "none":
                layers.append(norm_of(norm, before))
            if i or norm != "none":
                layers.append(ACTIVATIONS[activation]())
            # pixels that the encoder's division by the stride lost
            lost = ((height + 2 * padding - kernel) % stride, (width + 2 * padding - kernel) % stride)
            layers.append(nn.ConvTranspose2d(before, after, kernel, stride, padding, lost))
        self.net = nn.Sequential(*layers)

    def maps(self, z: Tensor) -> Tensor:
        """Maps of codes z (n, latent), as rows of pixels, (n, height × width, feature_maps)."""
        return self.net(z).flatten(2).transpose(1, 2)

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias, one value for each output of a channel, to the mean over all pixels."""
        if self._start_head_at(mean_image):
            return
        self._start_net_at(self._output_at(mean_image))
