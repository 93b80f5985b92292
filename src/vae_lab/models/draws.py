"""Draws of z for each image, and all figures that are made of their densities.

log w = log p(x|z) + log p(z) − log q(z|x),   z ~ q(z|x)
ELBO = E[log w],   log p(x) ≥ E[log 1/k Σ_k w]  (Burda et al., 2016, https://arxiv.org/abs/1509.00519)
"""

import math
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_lab.distributions.summaries import draw_with_density


class Latent:
    """k draws of one latent variable for each image. A density is computed when it is first needed.

    Where drawing gives the density at no cost (``rsample_and_log_prob``, as zuko's flows have), it is kept: for an
    inverse autoregressive posterior, computing it later takes one pass for each latent dimension.

    Args:
        q: posterior of each image, with batch shape (batch,), or (k, batch) below another latent variable.
        p: prior, of the same event shape.
        draws: shape of the draws before the batch shape of q: (k,), or () where q already has one for each draw.
    """

    def __init__(self, q: Distribution, p: Distribution, draws: tuple[int, ...]) -> None:
        self.q, self.p = q, p
        self.z, self._log_q = draw_with_density(q, draws)
        self._log_p: Tensor | None = None

    @property
    def log_q(self) -> Tensor:
        """log q(z|x) in nats, (k, batch)."""
        if self._log_q is None:
            self._log_q = self.q.log_prob(self.z)
        return self._log_q

    @property
    def log_p(self) -> Tensor:
        """log p(z) in nats, (k, batch)."""
        if self._log_p is None:
            self._log_p = self.p.log_prob(self.z)
        return self._log_p

    @property
    def log_ratio(self) -> Tensor:
        """log q(z|x) − log p(z) in nats, (k, batch)."""
        return self.log_q - self.log_p


class Draws:
    """k draws of every latent variable for each image, and the likelihood of the image given them.

    Args:
        latents: latent variables, the topmost first; none for a model that has no latent variable.
        log_likelihood: log p(x|z) in nats, (k, batch).
    """

    def __init__(self, latents: Sequence[Latent], log_likelihood: Tensor) -> None:
        self.latents, self.log_likelihood = latents, log_likelihood

    @property
    def z(self) -> Tensor:
        """The joint code, (k, batch, latent)."""
        return torch.cat([latent.z for latent in self.latents], -1)

    @property
    def log_ratio(self) -> Tensor:
        """log q(z|x) − log p(z) in nats, (k, batch): its mean over draws is the Monte Carlo KL."""
        if not self.latents:
            return torch.zeros_like(self.log_likelihood)
        return reduce(add, [latent.log_ratio for latent in self.latents])

    @property
    def log_weights(self) -> Tensor:
        """log w in nats, (k, batch)."""
        return self.log_likelihood - self.log_ratio

    @property
    def reconstruction(self) -> Tensor:
        """−E_q[log p(x|z)] in nats, (batch,)."""
        return -self.log_likelihood.mean(0)

    @property
    def sampled_kls(self) -> list[Tensor]:
        """KL(q ‖ p) of each latent variable estimated at the draws, in nats, (batch,) each, the topmost first.

        Unbiased, for every posterior and prior.
        """
        return [latent.log_ratio.mean(0) for latent in self.latents]

    @property
    def closed_kls(self) -> list[Tensor]:
        """KL(q ‖ p) of each latent variable in closed form, in nats, (batch,) each, the topmost first.

        Below another latent variable it is that given the draws of those above, averaged over the draws.

        Raises:
            NotImplementedError: if torch knows no closed form for one of the pairs.
        """
        found = [kl_divergence(latent.q, latent.p) for latent in self.latents]
        return [kl.mean(0) if kl.dim() > 1 else kl for kl in found]

    @property
    def sampled_kl(self) -> Tensor:
        """Sum of ``sampled_kls``, in nats, (batch,)."""
        return self._sum(self.sampled_kls)

    @property
    def closed_kl(self) -> Tensor:
        """Sum of ``closed_kls``, in nats, (batch,)."""
        return self._sum(self.closed_kls)

    def terms(self, kls: Sequence[Tensor] | None = None) -> dict[str, Tensor]:
        """NELBO, KL and reconstruction of each image at coeff = 1, each in nats, (batch,).

        With several latent variables also the KL of each, kl_z1 … kl_zL, where z_1 is the one nearest to the image.

        Args:
            kls: KL of each latent variable, (batch,) each, the topmost first; None takes the closed forms where there
                are, else the estimates.
        """
        if kls is None:
            try:
                kls = self.closed_kls
            except NotImplementedError:
                kls = self.sampled_kls
        kl, reconstruction = self._sum(kls), self.reconstruction
        layers = {f"kl_z{layer}": of_layer for layer, of_layer in enumerate(reversed(kls), 1)} if len(kls) > 1 else {}
        return {"nelbo": reconstruction + kl, "kl": kl, "reconstruction": reconstruction, **layers}

    def _sum(self, kls: Sequence[Tensor]) -> Tensor:
        """Sum over latent variables, (batch,); 0 where there are none."""
        return reduce(add, kls) if kls else torch.zeros_like(self.log_likelihood[0])


class Bounds(NamedTuple):
    """Figures of each image in nats, (batch,), from the same k draws of z."""

    nelbo: Tensor
    kl: Tensor
    reconstruction: Tensor
    nll: Tensor
    """−log 1/k Σ w: on average an upper bound of −log p(x), which it approaches as k grows."""


def bounds(parts: Iterable[Draws]) -> Bounds:
    """NELBO, its terms and the importance-weighted bound; only sums are kept, so that memory does not grow with k.

    Args:
        parts: draws for the same images, which add up to k for each.
    """
    sums = []
    for draws in parts:
        log_sum, k = draws.log_weights.logsumexp(0), len(draws.log_likelihood)
        sums.append((k, log_sum, draws.log_ratio.sum(0), -draws.log_likelihood.sum(0)))
    if not sums:
        raise ValueError("k must be at least 1")
    counts, log_sums, kls, reconstructions = zip(*sums, strict=True)
    k, log_sum = sum(counts), reduce(torch.logaddexp, log_sums)
    kl, reconstruction = reduce(add, kls), reduce(add, reconstructions)
    return Bounds((reconstruction + kl) / k, kl / k, reconstruction / k, math.log(k) - log_sum)
