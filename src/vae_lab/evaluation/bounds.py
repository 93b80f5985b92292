"""One evaluator for every model: from log-weights to ELBO, its terms and the importance-weighted bound.

log w = log p(x|z) + log p(z) − log q(z|x),   z ~ q(z|x)
ELBO = E[log w],   log p(x) ≥ E[log 1/k Σ_k w]  (Burda et al., Importance Weighted Autoencoders, 2016)
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from vae_lab.losses import Parts

DECODED_AT_ONCE = 2000  # images whose logits lie in memory together: 6 MB of 28 × 28 floats, and some copies


class Bounds(NamedTuple):
    """Per image, (batch,), in nats, from the same k samples of z."""

    nelbo: Tensor
    kl: Tensor
    reconstruction: Tensor
    nll: Tensor
    """−log 1/k Σ w, an upper bound of −log p(x) on average that falls to it as k grows."""


@torch.no_grad()
def bounds(parts: Parts, x: Tensor, k: int, decoded_at_once: int = DECODED_AT_ONCE) -> Bounds:
    """NELBO, its terms and the importance-weighted bound of images, from exactly k samples of z each.

    Each image is encoded once. The samples are drawn in chunks and only sums are kept, so that memory does
    not grow with k.

    Args:
        parts: encoder, decoder and prior.
        x: (batch, channels, height, width).
        k: samples of z for each image.
        decoded_at_once: images decoded in one chunk, at the least one for each of x.

    >>> from vae_lab.decoders import MLPDecoder
    >>> from vae_lab.encoders import MLPEncoder
    >>> from vae_lab.likelihoods import Bernoulli
    >>> from vae_lab.losses import KL
    >>> from vae_lab.priors import StandardNormal
    >>> from vae_lab.models.vae import VAE
    >>> model = VAE(MLPEncoder(2, [8]), MLPDecoder(2, [8], Bernoulli()), StandardNormal(2), KL())
    >>> found = bounds(model, torch.ones(3, 1, 28, 28), k=10)
    >>> found.nll.shape, bool((found.nll <= found.nelbo).all())
    (torch.Size([3]), True)
    """
    posterior, prior = parts.encoder(x), parts.prior()
    log_sum = x.new_full((len(x),), -math.inf)
    kl, reconstruction = torch.zeros_like(log_sum), torch.zeros_like(log_sum)
    chunk = max(1, decoded_at_once // len(x))
    for start in range(0, k, chunk):
        z = posterior.rsample((min(chunk, k - start),))
        log_likelihood = parts.decoder(z).log_prob(x)
        log_ratio = posterior.log_prob(z) - prior.log_prob(z)
        log_sum = torch.logaddexp(log_sum, (log_likelihood - log_ratio).logsumexp(0))
        kl += log_ratio.sum(0)
        reconstruction -= log_likelihood.sum(0)
    return Bounds((reconstruction + kl) / k, kl / k, reconstruction / k, math.log(k) - log_sum)


def bounds_of_set(parts: Parts, batches: Iterable[tuple[Tensor, Tensor]], k: int) -> Bounds:
    """The bounds of every image of a set, on the CPU, with a bar on a terminal.

    Args:
        parts: encoder, decoder and prior.
        batches: of (images, labels).
        k: samples of z for each image.
    """
    found = []
    for x, _ in tqdm(batches, desc=f"k = {k}", disable=None, leave=False):
        found.append([term.cpu() for term in bounds(parts, x, k)])
    return Bounds(*(torch.cat(terms) for terms in zip(*found, strict=True)))


def summary(found: Bounds, k: int) -> dict[str, float]:
    """Mean over images, and the standard error of the bound over images."""
    nll = found.nll.double()
    return {
        f"nll_iwae_{k}": nll.mean().item(),
        f"nll_iwae_{k}_se": (nll.std() / len(nll) ** 0.5).item(),
        f"nelbo_{k}": found.nelbo.double().mean().item(),
        f"kl_{k}": found.kl.double().mean().item(),
        f"reconstruction_{k}": found.reconstruction.double().mean().item(),
    }


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """Latent dimensions whose posterior mean varies over the images by more than the threshold.

    Source: Burda et al., Importance Weighted Autoencoders (2016), section 5.2.

    Args:
        means: posterior means, (n, latent).
        threshold: of the variance.

    >>> active_units(torch.tensor([[0.0, 1.0], [0.01, -1.0]]))
    1
    """
    return int((means.var(0) > threshold).sum())
