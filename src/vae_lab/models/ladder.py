"""Ladders: latent variables one above another, drawn from the top down."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.annotations import ImageShape
from vae_lab.distributions.normal import diagonal_normal
from vae_lab.likelihoods import Likelihood
from vae_lab.models.base import Model
from vae_lab.models.draws import Draws, Latent

WIDEST = 7.0  # log-variances stay within ± 7: unbounded ones let one image end a training

Choose = Callable[[int, Tensor, Tensor | None], Tensor]


class Rung(nn.Module):
    """The networks of one latent variable z_l below the topmost one; a state h of the layers above comes from the top.

    All that it gives of z_l are means and log-variances in one tensor, (n, 2 × latent).

    Args:
        latent: length of z_l.
        features: number of values that the bottom-up pass gives it for each image.
    """

    def __init__(self, latent: int, features: int) -> None:
        super().__init__()
        self.latent, self.features = latent, features

    def prior(self, state: Tensor) -> Tensor:
        """p(z_l | z_>l) of states (n, …)."""
        raise NotImplementedError

    def posterior(self, prior: Tensor, state: Tensor, features: Tensor) -> Tensor:
        """q(z_l | z_>l, x) of the prior (n, 2 × latent), states (n, …) and features of the images (n, features)."""
        raise NotImplementedError

    def descend(self, state: Tensor, z: Tensor) -> Tensor:
        """The state below, (n, …), of states (n, …) and z_l (n, latent)."""
        raise NotImplementedError


class Ladder(Model):
    """p(x, z) = p(x|z) p(z_L) Π_l p(z_l | z_>l),   q(z|x) = q(z_L | x) Π_l q(z_l | z_>l, x),   l = L − 1 … 1.

    A deterministic pass from the image up gives features of each layer. A pass from the top down carries a state h,
    deterministic beside z, which gives p(z_l | z_>l) and, merged with the features, q(z_l | z_>l, x). The topmost prior
    is N(0, I), and every other distribution a diagonal normal. The joint code is z_L … z_1, the topmost first.

    Source: Sønderby et al., Ladder Variational Autoencoders (2016), https://arxiv.org/abs/1602.02282; the state beside
    z is that of Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow (2016), section 4,
    https://arxiv.org/abs/1606.04934

    Args:
        bottom_up: gives features of images (n, channels, height, width), a tensor (n, …) for each layer, topmost first;
            the first one holds means and log-variances of z_L, (n, 2 × latent).
        top: gives the state below z_L (n, latent).
        rungs: the layers below, topmost first.
        image: gives the likelihood's output (n, outputs × channels, height, width) of the state below z_1.
        likelihood: turns that output into a distribution over images.
        image_shape: (channels, height, width) of the images.
        top_dim: length of z_L.
    """

    def __init__(
        self,
        bottom_up: nn.Module,
        top: nn.Module,
        rungs: Sequence[Rung],
        image: nn.Module,
        likelihood: Likelihood,
        image_shape: ImageShape,
        top_dim: int,
    ) -> None:
        super().__init__(image_shape)
        self.bottom_up, self.top, self.image, self.likelihood = bottom_up, top, image, likelihood
        self.rungs = nn.ModuleList(rungs)
        self.latents = [top_dim, *(rung.latent for rung in rungs)]
        self.features = [2 * top_dim, *(rung.features for rung in rungs)]
        channels, height, width = self.image_shape
        self.bias = nn.Parameter(torch.zeros(likelihood.outputs * channels, height, width))

    @property
    def likelihood_of_pixels(self) -> Likelihood:
        """What makes p(x|z) of the last output."""
        return self.likelihood

    def numbers_of(self, x: Tensor) -> Tensor:
        """Features of every layer, the topmost first, (batch, numbers), of images (batch, channels, height, width)."""
        return torch.cat([features.flatten(1) for features in self.bottom_up(x)], 1)

    def inferred_from(self, numbers: Tensor) -> list[Tensor]:
        """Features of each layer, (batch, features) each, the topmost first."""
        return list(numbers.split(self.features, -1))

    def draw(self, inferred: list[Tensor], x: Tensor, k: int) -> Draws:
        """k draws of every layer for each image: the topmost one from q(z_L|x), each other one given those above it."""
        batch, latents = len(x), list[Latent]()

        def choose(layer: int, prior: Tensor, state: Tensor | None) -> Tensor:
            if state is None:
                latents.append(Latent(diagonal_normal(bounded(inferred[0])), diagonal_normal(prior), (k,)))
            else:
                features = inferred[layer].expand(k, -1, -1).flatten(0, 1)
                posterior = self._rung(layer).posterior(prior, state, features)
                q, p = (diagonal_normal(numbers.unflatten(0, (k, batch))) for numbers in (posterior, prior))
                latents.append(Latent(q, p, ()))
            return latents[-1].z.flatten(0, 1)

        output = self._descend(choose).unflatten(0, (k, batch))
        return Draws(latents, self.likelihood(output).log_prob(x))

    def densities(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(x|z) in nats, (…, batch) each, of joint codes z (…, batch, latent)."""
        parts, log_p = self._parts(z), list[Tensor]()

        def choose(layer: int, prior: Tensor, _: Tensor | None) -> Tensor:
            log_p.append(diagonal_normal(prior).log_prob(parts[layer]))
            return parts[layer]

        output = self._descend(choose).view(*z.shape[:-1], *self.bias.shape)
        return torch.stack(log_p).sum(0).view(z.shape[:-1]), self.likelihood(output).log_prob(x)

    def codes_of(self, inferred: list[Tensor]) -> Tensor:
        """The joint code (batch, latent) of posterior means, each given the means above it."""
        means = list[Tensor]()

        def choose(layer: int, prior: Tensor, state: Tensor | None) -> Tensor:
            features = inferred[layer]
            found = features if state is None else self._rung(layer).posterior(prior, state, features)
            means.append(found.chunk(2, -1)[0])
            return means[-1]

        self._descend(choose)
        return torch.cat(means, -1)

    def draw_codes(self, n: int) -> Tensor:
        """n joint codes from the prior, (n, latent)."""
        return self._codes_with_fixed([], n)

    def samples_with_fixed(self, n: int) -> Tensor:
        """Images (L + 1, n, channels, height, width): in row k the upper k layers are those of one draw, the same in
        all rows, and the layers below are n draws.
        """
        held = list(self._parts(self.draw_codes(1)))
        rows = [self._codes_with_fixed(held[:k], n) for k in range(len(held) + 1)]
        return torch.stack([self.decode(codes) for codes in rows])

    def images_given(self, z: Tensor) -> Distribution:
        """p(x|z) of joint codes z (…, latent)."""
        parts = self._parts(z)
        output = self._descend(lambda layer, *_: parts[layer])
        return self.likelihood(output.view(*z.shape[:-1], *self.bias.shape))

    def start_at(self, mean_image: Tensor) -> None:
        """Start the output bias, one value for each output of a pixel, at the data's mean image."""
        self.bias.data.copy_(self.likelihood.link(self.admit(mean_image, one_batch=False, bits=False)))

    # --- the pass from the top down -------------------------------------------------------------------

    def _descend(self, choose: Choose) -> Tensor:
        """Output for the likelihood (n, outputs × channels, height, width) of latent variables chosen on the way down.

        Args:
            choose: gives z_l (n, latent) from the number of the layer, 0 for the topmost, from means and log-variances
                of p(z_l | z_>l) (n, 2 × latent), (1, 2 × latent) at the top, and from the state, None at the top.
        """
        state = self.top(choose(0, self.bias.new_zeros(1, 2 * self.latents[0]), None))
        for layer in range(1, len(self.latents)):
            rung = self._rung(layer)
            state = rung.descend(state, choose(layer, rung.prior(state), state))
        return self.image(state) + self.bias

    def _rung(self, layer: int) -> Rung:
        rung = self.rungs[layer - 1]
        assert isinstance(rung, Rung)
        return rung

    def _parts(self, z: Tensor) -> tuple[Tensor, ...]:
        """The codes of each layer, (n, latent) each, of joint codes (…, latent)."""
        return z.reshape(-1, z.shape[-1]).split(self.latents, -1)

    @torch.no_grad()
    def _codes_with_fixed(self, held: Sequence[Tensor], n: int) -> Tensor:
        """n joint codes whose upper layers are those of one code, and whose others are drawn, (n, latent).

        Args:
            held: codes of the upper layers, (1, latent) each, topmost first.
            n: number of codes.
        """
        parts = list[Tensor]()

        def choose(layer: int, prior: Tensor, _: Tensor | None) -> Tensor:
            prior = prior.expand(n, -1)
            parts.append(held[layer].expand(n, -1) if layer < len(held) else diagonal_normal(prior).sample())
            return parts[-1]

        self._descend(choose)
        return torch.cat(parts, -1)


def bounded(numbers: Tensor) -> Tensor:
    """Means and log-variances, (…, 2 × latent), with the log-variances s as 7 tanh(s / 7)."""
    mean, log_variance = numbers.chunk(2, -1)
    return torch.cat((mean, WIDEST * (log_variance / WIDEST).tanh()), -1)
