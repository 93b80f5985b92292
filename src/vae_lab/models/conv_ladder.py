"""A ladder of gated residual blocks, whose latent variables are maps."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import glu, silu

from vae_lab.annotations import ImageShape, Size, Sizes
from vae_lab.likelihoods import Likelihood
from vae_lab.models.ladder import Ladder, Rung, bounded

Counts = Annotated[list[Annotated[int, Field(ge=0, le=1000)]], Field(min_length=1)]
Map = tuple[int, int, int]  # channels, height, width


class ConvLadder(Ladder):
    """A ladder of convolutions: a vector z_L at the top, and below it maps at each scale of the image.

    Scale s has ⌈height / 2^s⌉ × ⌈width / 2^s⌉ pixels, so that every image size fits. The state is a residual stream:
    each z_l is added to it, and a gated block follows. The numbers of q(z_l | z_>l, x) are those of p(z_l | z_>l) plus
    what the features of the image and the state say together.

    Source: Child, Very Deep VAEs Generalize Autoregressive Models (2021), https://arxiv.org/abs/2011.10650; q relative
    to p is that of Vahdat and Kautz, NVAE (2020), section 3.2, https://arxiv.org/abs/2007.03898

    Args:
        channels: channels of the states at scales 1, 2, …, from the image to the top.
        latents: number of latent variables at each scale, likewise.
        latent_channels: channels of each latent map at a scale, likewise.
        top_dim: length of z_L.
        likelihood: turns the last output into a distribution over images.
        image_shape: (channels, height, width) of the images.

    Raises:
        ValueError: if the lists have different lengths.

    >>> from vae_lab.likelihoods import Bernoulli
    >>> model = ConvLadder([4, 8], [1, 1], [1, 2], 5, Bernoulli(), image_shape=(1, 28, 28))
    >>> model.latents, model.sample(3).shape
    ([5, 98, 196], torch.Size([3, 1, 28, 28]))
    """

    def __init__(
        self,
        channels: Sizes,
        latents: Counts,
        latent_channels: Sizes,
        top_dim: Size,
        likelihood: Likelihood,
        image_shape: ImageShape,
    ) -> None:
        if not len(channels) == len(latents) == len(latent_channels):
            lengths = f"{len(channels)} channels, {len(latents)} latents, {len(latent_channels)} latent_channels"
            raise ValueError(f"{lengths}; each scale has one of them")
        maps = [(c, *(-(-size // 2**s) for size in image_shape[1:])) for s, c in enumerate(channels, 1)]
        smallest = maps[-1]
        top = nn.Sequential(nn.Linear(top_dim, math.prod(smallest)), nn.Unflatten(1, smallest), Block(smallest[0]))
        rungs, way = list[ConvRung](), top  # to which the layers before the next rung belong
        for scale in reversed(range(len(maps))):
            for _ in range(latents[scale]):
                rungs.append(ConvRung(latent_channels[scale], maps[scale]))
                way = rungs[-1].way
            if scale:
                way.append(Up(maps[scale], maps[scale - 1]))
                way.append(Block(maps[scale - 1][0]))
        outputs = likelihood.outputs * image_shape[0], *image_shape[1:]
        bottom_up = BottomUp(image_shape[0], maps, latents, top_dim)
        super().__init__(bottom_up, top, rungs, Up(maps[0], outputs), likelihood, image_shape, top_dim)
        self.to(memory_format=torch.channels_last)  # half the time of convolutions with few channels on a CPU


class Block(nn.Module):
    """x + a ⊙ sigmoid(b), with a and b from two convolutions of x.

    Args:
        channels: channels of x (n, channels, height, width).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 3, padding=1)
        self.gate = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        return x + glu(self.gate(silu(self.mix(silu(x)))), 1)


class Up(nn.Module):
    """A map of twice the height and width, cut to the size that is wanted.

    Args:
        before: (channels, height, width) of the input.
        after: (channels, height, width) of the output.
    """

    def __init__(self, before: Map, after: Map) -> None:
        super().__init__()
        self.size = after[1:]
        self.conv = nn.Conv2d(before[0], 4 * after[0], 3, padding=1)
        self.shuffle = nn.PixelShuffle(2)

    def forward(self, x: Tensor) -> Tensor:
        """From (n, channels, height, width) of ``before`` to that of ``after``."""
        height, width = self.size
        return self.shuffle(self.conv(silu(x)))[..., :height, :width]


class BottomUp(nn.Module):
    """Features of each latent variable, topmost first, from the image up.

    Args:
        image_channels: channels of the images.
        maps: (channels, height, width) of the states at scales 1, 2, ….
        latents: number of latent variables at each scale.
        top_dim: length of z_L.
    """

    def __init__(self, image_channels: int, maps: Sequence[Map], latents: Sequence[int], top_dim: int) -> None:
        super().__init__()
        before = [image_channels, *(channels for channels, *_ in maps)]
        self.downs = nn.ModuleList(
            nn.Conv2d(below, channels, 3, stride=2, padding=1)
            for below, (channels, *_) in zip(before, maps, strict=False)
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(Block(channels) for _ in range(max(1, n)))
            for (channels, *_), n in zip(maps, latents, strict=True)
        )
        self.latents = latents
        self.to_top = nn.Linear(math.prod(maps[-1]), 2 * top_dim)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of each latent variable for images (n, channels, height, width)."""
        found = list[Tensor]()
        for down, blocks, n in zip(self.downs, self.blocks, self.latents, strict=True):
            x = down(x)
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                x = block(x)
                found += [x] if n else []
        return [self.to_top(silu(x).flatten(1)), *reversed(found)]


class ConvRung(Rung):
    """One latent map of the ladder.

    Args:
        latent_channels: channels of z_l.
        of_state: (channels, height, width) of the state above; z_l has its height and width.
    """

    def __init__(self, latent_channels: int, of_state: Map) -> None:
        channels, *size = of_state
        super().__init__(latent_channels * math.prod(size), features=math.prod(of_state))
        self.of_state, self.of_latent = of_state, (latent_channels, *size)
        self.to_prior = nn.Conv2d(channels, 2 * latent_channels, 1)
        self.of_both = nn.Conv2d(channels, channels, 1)
        self.to_posterior = nn.Conv2d(channels, 2 * latent_channels, 3, padding=1)
        self.of_code = nn.Conv2d(latent_channels, channels, 1)
        self.way = nn.Sequential(Block(channels))

    def prior(self, state: Tensor) -> Tensor:
        """p(z_l | z_>l), linear in each pixel of the state."""
        return bounded(self.to_prior(silu(state)).flatten(1))

    def posterior(self, prior: Tensor, state: Tensor, features: Tensor) -> Tensor:
        """The numbers of the prior, plus those of the state and the features together."""
        both = silu(features.unflatten(-1, self.of_state) + self.of_both(state))
        return bounded(prior + self.to_posterior(both).flatten(1))

    def descend(self, state: Tensor, z: Tensor) -> Tensor:
        """The state below: z_l is added, and the layers before the next rung follow."""
        return self.way(state + self.of_code(z.unflatten(-1, self.of_latent)))
