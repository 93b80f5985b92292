"""Where log p(x) − ELBO comes from, image by image.

approximation gap = log p(x) − ELBO of the best q of the family
amortisation gap  = ELBO of the best q of the family − ELBO of the model's own q(z|x)

Together they are log p(x) − ELBO. Source: Cremer et al., Inference suboptimality in variational autoencoders (2018),
https://arxiv.org/abs/1801.03558
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from vae_lab.distributions.normal import diagonal_normal
from vae_lab.distributions.summaries import log_mean
from vae_lab.evaluation.annealed import annealed
from vae_lab.evaluation.progress import Progress, progress
from vae_lab.models import Model

K = 5000  # draws of z for each image in the importance-weighted bound of log p(x)
FRESH = 1000  # draws in an ELBO, none of which the search has seen
DRAWS = 16  # draws in a step of the search
STEPS = 300  # of the search
LR = 0.03  # of its first step, in units of the numbers that name q

LogWeights = Callable[[Tensor, int], Tensor]
"""log w in nats, (k, batch), of k draws from q of numbers (batch, numbers)."""


class Gaps(NamedTuple):
    """Figures of each image in nats, (batch,) each, on the CPU."""

    annealed: Tensor
    """log p(x) by annealed importance sampling, on average a lower bound."""
    importance: Tensor
    """The importance-weighted bound of log p(x) from K draws of the model's own q."""
    elbo: Tensor
    """ELBO of the model's own q(z|x)."""
    best: Tensor
    """ELBO of the best q of the model's family."""
    diagonal: Tensor
    """ELBO of the best diagonal normal q."""
    effective: Tensor
    """Effective sample size of the annealed chains, a number of chains."""
    acceptance: Tensor
    """Share of accepted proposals of the annealed chains."""

    @property
    def log_prob(self) -> Tensor:
        """log p(x), by the closer one of the two estimates: both are lower bounds, and the higher one is closer.

        It is chosen once for all images. The higher one of each image would add up the luck of both.
        """
        return max(self.annealed, self.importance, key=lambda estimate: estimate.mean().item())

    @property
    def approximation(self) -> Tensor:
        """log p(x) − ELBO of the best q of the family."""
        return self.log_prob - self.best

    @property
    def amortisation(self) -> Tensor:
        """ELBO of the best q of the family − ELBO of the model's own q(z|x)."""
        return self.best - self.elbo


@torch.no_grad()
def gaps(model: Model, x: Tensor, ais_steps: int, ais_chains: int, search_steps: int | None = None) -> Gaps:
    """Measure the gaps of images, and show the progress. The model's parameters get no gradient.

    Args:
        model: a model with a likelihood and an encoder, in evaluation mode.
        x: images, (batch, channels, height, width), binarized as in training.
        ais_steps: number of steps of annealed importance sampling.
        ais_chains: number of its chains for each image.
        search_steps: number of gradient steps to the best q of each image; None is 300.

    Raises:
        NotOffered: if the model has no likelihood given codes, or no numbers that name q(z|x).
    """
    x, search_steps = model.admit(x), search_steps or STEPS
    chains = annealed(model, x, ais_steps, ais_chains)
    parts = x.split(max(1, model.at_once // DRAWS))
    with progress(2 * search_steps * len(parts), "best q of each image") as bar:
        found = [_searched(model, part, search_steps, bar) for part in parts]
    importance, elbo, best, diagonal = (torch.cat(terms) for terms in zip(*found, strict=True))
    measured = Gaps(chains.log_prob, importance, elbo, best, diagonal, chains.effective, chains.acceptance)
    return Gaps(*(value.cpu() for value in measured))


def _searched(model: Model, x: Tensor, steps: int, bar: Progress) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The importance-weighted bound, and the ELBO of the model's own q and of the best of two families, (batch,)."""
    own, diagonal = partial(_own_family, model, x), partial(_diagonal, model, x)
    at_once, numbers = max(1, model.at_once // len(x)), model.numbers_of(x)
    log_weights = _drawn(own, numbers, K, at_once)
    found = [
        _drawn(family, climb(family, start, steps, bar), FRESH, at_once).mean(0)
        for family, start in ((own, numbers), (diagonal, _moments(model, x, numbers)))
    ]
    return log_mean(log_weights), log_weights.mean(0), found[0], found[1]


def climb(log_weights: LogWeights, start: Tensor, steps: int, bar: Progress | None = None) -> Tensor:
    """Numbers that name the q of highest ELBO within its family, (batch, numbers), by Adam with fresh draws.

    The learning rate falls to 0 along a cosine, so that the noise of single steps averages out.

    Args:
        log_weights: the family.
        start: numbers where the search starts, (batch, numbers).
        steps: number of steps.
        bar: a bar that advances by one for each step.
    """
    with torch.enable_grad():
        numbers = start.detach().clone().requires_grad_()
        optimizer = Adam([numbers], LR, maximize=True)
        schedule = CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            # of the numbers only: backward() would add to the gradients of the model's parameters
            (numbers.grad,) = torch.autograd.grad(log_weights(numbers, DRAWS).mean(0).sum(), numbers)
            optimizer.step()
            schedule.step()
            if bar is not None:
                bar.update(1)
    return numbers.detach()


def _own_family(model: Model, x: Tensor, numbers: Tensor, k: int) -> Tensor:
    """log w of draws from the q that the model makes of numbers (batch, numbers)."""
    return model.draw(model.inferred_from(numbers), x, k).log_weights


def _diagonal(model: Model, x: Tensor, numbers: Tensor, k: int) -> Tensor:
    """log w of draws from N(z; μ, diag σ²), with the means before the log-variances in the numbers."""
    q = diagonal_normal(numbers)
    z = q.rsample((k,))
    log_prior, log_likelihood = model.densities(z, x)
    return log_prior + log_likelihood - q.log_prob(z)


def _moments(model: Model, x: Tensor, numbers: Tensor) -> Tensor:
    """Means and log-variances of draws from the model's own q, (batch, 2 latent)."""
    z = model.draw(model.inferred_from(numbers), x, 10 * DRAWS).z
    return torch.cat((z.mean(0), z.var(0).clamp(min=torch.finfo(z.dtype).tiny).log()), -1)


def _drawn(family: LogWeights, numbers: Tensor, k: int, at_once: int) -> Tensor:
    """log w of k draws, (k, batch), drawn in parts that fit into memory."""
    return torch.cat([family(numbers, min(at_once, k - start)) for start in range(0, k, at_once)])


def summary(found: Gaps) -> dict[str, float]:
    """Means over images in nats with their standard errors, and how the annealed chains did.

    Args:
        found: gaps of at least two images.
    """
    figures = {
        "nll": -found.log_prob,
        "nll_annealed": -found.annealed,
        f"nll_iwae_{K}": -found.importance,
        "nelbo": -found.elbo,
        "nelbo_best": -found.best,
        "nelbo_best_diagonal": -found.diagonal,
        "approximation": found.approximation,
        "amortisation": found.amortisation,
        "total": found.log_prob - found.elbo,
    }
    means = {name: values.double().mean().item() for name, values in figures.items()}
    errors = {f"{name}_se": (values.double().std() / len(values) ** 0.5).item() for name, values in figures.items()}
    of_chains = {
        "ais_effective": found.effective.double().mean().item(),
        "ais_acceptance": found.acceptance.double().mean().item(),
    }
    return {"images": len(found.elbo), **means, **errors, **of_chains}
