"""A causal transformer: each token sees itself and the tokens before it."""

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention


class Cache:
    """Keys and values of the tokens seen so far, for each layer."""

    def __init__(self) -> None:
        self.of_layer: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        self.seen = 0

    def extended(self, layer: nn.Module, key: Tensor, value: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Keys and values of all tokens so far, (n, heads, tokens, width of a head), with the new ones at their end.

        Args:
            layer: layer that they belong to.
            key: keys of the new tokens, (n, heads, new tokens, width of a head).
            value: values of the new tokens, of the same shape.
            length: number of tokens that there will be in all.
        """
        if layer not in self.of_layer:
            size = *key.shape[:2], length, key.shape[3]
            self.of_layer[layer] = key.new_empty(size), value.new_empty(size)
        keys, values = self.of_layer[layer]
        end = self.seen + key.shape[2]
        keys[:, :, self.seen : end], values[:, :, self.seen : end] = key, value
        return keys[:, :, :end], values[:, :, :end]


class Block(nn.Module):
    """h ← h + attention(norm(h)), h ← h + W₂ gelu(W₁ norm(h)).

    Args:
        width: number of features of a token.
        heads: number of attention heads.
        length: number of tokens.
    """

    def __init__(self, width: int, heads: int, length: int) -> None:
        super().__init__()
        self.heads, self.length = heads, length
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_three, self.mix = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h: Tensor, cache: Cache | None = None) -> Tensor:
        """Features (n, tokens, width) after this layer; with a cache, of the tokens that follow those in it."""
        three = self.to_three(self.norm_attention(h)).unflatten(-1, (3, self.heads, -1))
        query, key, value = three.permute(2, 0, 3, 1, 4)  # (n, heads, tokens, width of a head) each
        if cache is not None:
            key, value = cache.extended(self, key, value, self.length)
        # one new token may see all of them; several are only given to an empty cache
        seen = scaled_dot_product_attention(query, key, value, is_causal=query.shape[2] > 1)
        h = h + self.mix(seen.transpose(1, 2).flatten(2))
        return h + self.narrow(gelu(self.widen(self.norm_mlp(h))))


class CausalTransformer(nn.Module):
    """Features of each token from the tokens before it: token t sees the values of tokens 0 … t − 1, and the context.

    Source: Vaswani et al., Attention Is All You Need (2017), https://arxiv.org/abs/1706.03762, with the norms before
    the layers: Xiong et al., On Layer Normalization in the Transformer Architecture (2020),
    https://arxiv.org/abs/2002.04745

    Args:
        values: number of values of a token.
        length: number of tokens.
        layers: number of layers.
        width: number of features of a token.
        heads: number of attention heads.

    Raises:
        ValueError: if the width is not a multiple of the number of heads.
    """

    def __init__(self, values: int, length: int, layers: int, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} must be a multiple of heads={heads}")
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.position = nn.Parameter(0.02 * torch.randn(length, width))
        self.embed = nn.Linear(values, width)
        self.blocks = nn.ModuleList(Block(width, heads, length) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, context: Tensor | None, cache: Cache | None = None) -> Tensor:
        """Features, (n, tokens, width), of the token after each of those given; the first is that of token 0.

        Args:
            tokens: values of tokens, (n, tokens, values); without a cache all but the last one, which nothing sees.
                With a cache, those that follow what it has seen; none at the very first call.
            context: what is added to every token, (n, 1, width), or None.
            cache: keys and values of the tokens before, or None.
        """
        first = cache is None or not cache.seen
        h = self.embed(tokens - 0.5)
        if first:
            h = torch.cat((self.start.expand(len(tokens), 1, -1), h), 1)
        begin = 0 if cache is None else cache.seen
        h = h + self.position[begin : begin + h.shape[1]]
        if context is not None:
            h = h + context
        for block in self.blocks:
            h = block(h, cache)
        if cache is not None:
            cache.seen += h.shape[1]
        return self.norm(h)
