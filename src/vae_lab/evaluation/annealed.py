"""Annealed importance sampling: log p(x) of single images, with no help of an encoder.

f_t(z) = p(z) p(x|z)^β_t,  0 = β_0 < … < β_T = 1,   z_0 ~ p(z),  z_t from z_t−1 by a transition that keeps f_t
log w = Σ_t (β_t − β_t−1) log p(x|z_t−1),   E[w] = p(x)

Sources: Neal, Annealed importance sampling (2001), https://arxiv.org/abs/physics/9803008; for decoders Wu et al., On
the quantitative analysis of decoder-based generative models (2017), https://arxiv.org/abs/1611.04273; in both
directions Grosse et al., Sandwiching the marginal likelihood using bidirectional Monte Carlo (2015),
https://arxiv.org/abs/1511.02543
"""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lab.distributions.summaries import log_mean
from vae_lab.evaluation.hamiltonian import move, point_at
from vae_lab.evaluation.progress import Progress, progress
from vae_lab.models import Model

PILOTS = 2  # chains of each image that find the step sizes
ACCEPTANCE = 0.65  # the share of accepted proposals that costs least: Beskos et al. (2013), arxiv.org/abs/1001.4460
RATE = 0.3  # change of log step size for each unit of difference to it
FIRST_STEP = 0.1  # in units of z; found within some ten transitions, while β is near its start
JITTER = 0.2  # share by which step sizes vary: a trajectory as long as a period would come back to its start


class Annealed(NamedTuple):
    """What the chains of each image say, (batch,) each."""

    log_prob: Tensor
    """Estimate of log p(x) in nats: on average a lower bound from the prior, an upper bound from the posterior."""
    effective: Tensor
    """Effective sample size (Σ w)² / Σ w² of its chains, from 1 to their number."""
    acceptance: Tensor
    """Share of accepted proposals."""


def schedule(steps: int, steepness: float = 4.0) -> list[float]:
    """β_0 = 0, …, β_T = 1 along a sigmoid, which is slow near both ends.

    Args:
        steps: T, number of steps.
        steepness: argument of the sigmoid at the last step, and its negative at the first.

    >>> [round(beta, 3) for beta in schedule(4)]
    [0.0, 0.105, 0.5, 0.895, 1.0]
    """
    values = torch.linspace(-steepness, steepness, steps + 1, dtype=torch.float64).sigmoid()
    return ((values - values[0]) / (values[-1] - values[0])).tolist()


@torch.no_grad()
def annealed(model: Model, x: Tensor, steps: int, chains: int, codes: Tensor | None = None) -> Annealed:
    """log p(x) of images by annealed importance sampling; its progress is shown.

    Two more chains of each image find the step size that keeps the acceptance near 65 %. They are not counted. For the
    chains that are, step sizes then do not depend on where they are, and the estimate of p(x) stays without bias. (A
    chain that followed its own acceptance would not leave f_t unchanged.)

    Args:
        model: a model with a likelihood, in evaluation mode.
        x: images, (batch, channels, height, width), binarized as in training.
        steps: number of β after 0; the bound approaches log p(x) as it grows.
        chains: number of chains for each image, whose weights are averaged.
        codes: an exact draw from the posterior of each image, (batch, latent), as ``simulated`` gives it: the chains
            run back from there to the prior, and give an upper bound.

    Raises:
        NotOffered: if the model has no likelihood given codes.
    """
    x = model.admit(x)
    size = max(1, model.at_once // (chains + PILOTS))
    parts = list(zip(x.split(size), [None] * len(x) if codes is None else codes.split(size), strict=False))
    found = []
    with progress(steps * len(parts), f"annealing, {chains} chains") as bar:
        for images, known in parts:
            found.append(_weights(model, images, schedule(steps), chains, known, bar))
    log_weights, acceptance = (torch.cat(terms, -1) for terms in zip(*found, strict=True))
    mean = log_mean(log_weights)
    effective = (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp()
    return Annealed(mean if codes is None else -mean, effective, acceptance)


def _weights(
    model: Model, x: Tensor, betas: list[float], chains: int, codes: Tensor | None, bar: Progress
) -> tuple[Tensor, Tensor]:
    """log w of each chain, (chains, batch), and the acceptance, (batch,); log 1/w of chains that run back."""
    shape = chains + PILOTS, len(x)
    if codes is None:
        z = model.draw_codes(math.prod(shape)).unflatten(0, shape)
    else:
        z, betas = model.cast(codes).expand(shape[0], *codes.shape), betas[::-1]
    here = point_at(model, x, z)
    log_weights = torch.zeros_like(here.log_likelihood)
    accepted, step = torch.zeros_like(log_weights[0]), torch.full_like(log_weights[0], FIRST_STEP)
    for before, beta in itertools.pairwise(betas):
        log_weights = log_weights + (beta - before) * here.log_likelihood
        if beta != betas[-1]:  # a move after the last weight would change nothing
            jitter = torch.empty_like(log_weights).uniform_(1 - JITTER, 1 + JITTER)
            here, probability = move(model, x, here, beta, step * jitter)
            accepted = accepted + probability[PILOTS:].mean(0)
            step = step * (RATE * (probability[:PILOTS].mean(0) - ACCEPTANCE)).exp()
        bar.update(1)
    return log_weights[PILOTS:], accepted / max(1, len(betas) - 2)


@torch.no_grad()
def simulated(model: Model, n: int) -> tuple[Tensor, Tensor]:
    """Images that the model draws, and the codes that they were drawn from: exact draws from their posteriors.

    Args:
        model: a model with codes.
        n: number of images.

    Returns:
        images (n, channels, height, width) and codes (n, latent).
    """
    codes = model.draw_codes(n)
    return model.images_given(codes).sample(), codes
