"""A causal transformer over patches as decoder."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.annotations import CodeLength, ImageShape, Size
from vae_lab.decoders.attention import Cache, CausalTransformer
from vae_lab.decoders.autoregressive import AutoregressiveDecoder, ChannelHead, for_each
from vae_lab.distributions.autoregressive import Column
from vae_lab.distributions.patterns import Patches, PatternImage, bits_of, draw_pattern
from vae_lab.likelihoods import Bernoulli, Likelihood

MOST_VALUES = 12  # of a patch: a softmax over 4,096 patterns


class TransformerDecoder(AutoregressiveDecoder):
    """p(x|z) = Π_t p(patch t | patches before it, z) by a causal transformer whose tokens are patches, row by row.

    With ``patch=1`` a token is a pixel, whose channels have the likelihood's distribution, each given those before it.
    With larger patches the pixels must be 0 or 1, and a softmax over all 2^(channels · patch²) patterns is the exact
    distribution of a patch. z is added to the start token and to every other token.

    Source: Chen et al., Generative Pretraining from Pixels (2020),
    https://cdn.openai.com/papers/Generative_Pretraining_from_Pixels_V2.pdf

    Args:
        latent_dim: length of z; 0 for p(x) without codes.
        likelihood: turns the outputs into the distribution of a pixel; ``bernoulli`` where ``patch`` is above 1.
        image_shape: (channels, height, width) of the images.
        patch: height and width of a patch, in pixels; both sizes of the images are multiples of it.
        layers: number of layers.
        width: number of features of a token, a multiple of ``heads``.
        heads: number of attention heads.

    Raises:
        ValueError: if the patch does not divide the images, has more than 12 values, or needs another likelihood.

    >>> decoder = TransformerDecoder(2, Bernoulli(), (1, 6, 6), patch=2, layers=1, width=8, heads=2)
    >>> decoder(torch.randn(3, 5, 2)).log_prob(torch.ones(5, 1, 6, 6)).shape
    torch.Size([3, 5])
    """

    def __init__(
        self,
        latent_dim: CodeLength,
        likelihood: Likelihood,
        image_shape: ImageShape,
        patch: Size = 2,
        layers: Size = 4,
        width: Size = 64,
        heads: Size = 4,
    ) -> None:
        super().__init__(latent_dim, likelihood, image_shape)
        self.patches, self.rows_at_once, self.needs_bits = Patches(self.image_shape, patch), patch, patch > 1
        _check(self.patches, likelihood)
        rows, columns = self.patches.shape
        self.width = width
        self.transformer = CausalTransformer(self.patches.values, rows * columns, layers, width, heads)
        self.of_code = nn.Linear(latent_dim, width) if latent_dim else None
        self.head: nn.Linear | ChannelHead
        if self.needs_bits:
            self.head = nn.Linear(width, 2**self.patches.values)
        else:
            self.head = ChannelHead(width, self.image_shape[0], likelihood.outputs)

    def outputs(self, x: Tensor, z: Tensor) -> Tensor:
        """Outputs of every pixel in one pass, (n, outputs × channels, height, width); logits of patterns for patches.

        Logits are (n, patches, patterns).
        """
        features = self.transformer(self.patches.cut(x)[:, :-1], self.context(z))
        if self.needs_bits:
            return self.head(features)
        return self.head(features.transpose(1, 2).unflatten(2, self.patches.shape), x)

    def conditionals(self, x: Tensor, z: Tensor) -> Distribution:
        """p(x_t | x_<t, z) of every pixel, or of every patch, of images x, given codes z (n, latent)."""
        if not self.needs_bits:
            return super().conditionals(x, z)
        return PatternImage(self.outputs(for_each(x, z), z), self.patches)

    def start_at(self, mean_image: Tensor) -> None:
        """Set the last bias to the mean over all pixels, or to that of each pixel of a patch over all patches."""
        if isinstance(self.head, ChannelHead):
            self.head.start_at(self._output_at(mean_image))
            return
        patch = self.likelihood.link(self.patches.cut(mean_image[None]).mean(1)).to(mean_image)
        bits = bits_of(torch.arange(2**self.patches.values, device=patch.device), self.patches.values)
        self.head.bias.data.copy_((bits.to(patch) * patch).sum(-1))

    @property
    def values_of_image(self) -> int:
        """Number of values that the decoder keeps for an image: the logits of a token, or its features."""
        outputs = 2**self.patches.values if self.needs_bits else self.likelihood.outputs * self.image_shape[0]
        return max(outputs, self.width) * math.prod(self.patches.shape)

    def context(self, z: Tensor) -> Tensor | None:
        """What z adds to each token, (n, 1, width); None without codes."""
        return None if self.of_code is None else self.of_code(z)[:, None]

    def columns(self, z: Tensor) -> Column:
        """What gives the outputs of one pixel after another, with the keys and values of those before it kept."""
        following = _Following(self, z)
        return lambda x, row, column: self.head(
            following(self.patches.cut(x), row * x.shape[-1] + column)[..., None, None],
            x[:, :, row : row + 1, column : column + 1],
        )[:, :, 0, 0]

    def draw_rest(self, x: Tensor, z: Tensor, rows: int) -> Tensor:
        """Images whose first rows are those of x, and whose other pixels, or patches, are drawn in order."""
        if not self.needs_bits:
            return super().draw_rest(x, z, rows)
        tokens, following = self.patches.cut(x).clone(), _Following(self, z)
        known = rows // self.patches.size * self.patches.shape[1]
        for index in range(known, tokens.shape[1]):
            tokens[:, index] = draw_pattern(self.head(following(tokens, index)))
        return self.patches.join(tokens)


class _Following:
    """Features (n, width) of one token after another, from the tokens before it; what was computed is kept."""

    def __init__(self, decoder: TransformerDecoder, z: Tensor) -> None:
        self.transformer, self.context, self.cache = decoder.transformer, decoder.context(z), Cache()
        self.features = z

    def __call__(self, tokens: Tensor, index: int) -> Tensor:
        """Features of token ``index`` of tokens (n, all tokens, values) that are complete before it."""
        if self.cache.seen <= index:
            new = tokens[:, max(0, self.cache.seen - 1) : index]
            self.features = self.transformer(new, self.context, self.cache)[:, -1]
        return self.features


def _check(patches: Patches, likelihood: Likelihood) -> None:
    """Refuse patches that do not fit the images or the likelihood."""
    (channels, height, width), size = patches.image_shape, patches.size
    if height % size or width % size:
        fitting = [str(n) for n in (1, 2, 3) if height % n == width % n == 0 and (n == 1 or channels * n * n <= 12)]
        raise ValueError(f"patch={size} does not divide images of {height} × {width}; use {' or '.join(fitting)}")
    if size > 1 and patches.values > MOST_VALUES:
        raise ValueError(f"patch={size} has 2^{patches.values} patterns; use a smaller one, with at most 2^12")
    if size > 1 and not isinstance(likelihood, Bernoulli):
        reason = "the patterns of a patch are its distribution, of pixels that are 0 or 1"
        raise ValueError(f"patch={size} takes likelihood=bernoulli ({reason}); use that, or patch=1")
