"""Summaries of every distribution: a draw with its density, and one representative for codes and figures."""

import math

from torch import Tensor
from torch.distributions import Distribution, Independent, TransformedDistribution

from vae_lab.errors import NotOffered


def draw_with_density(q: Distribution, draws: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
    """Draws z that can be differentiated, and log q(z) where the draw gives it at little cost; else None.

    A flow gives its density on the way from noise to z. Computed later it needs the way back, which takes one pass
    for each latent dimension of an inverse autoregressive flow, and has no closed form for a planar one.

    Args:
        q: distribution over codes.
        draws: shape of the draws before q's own.
    """
    if hasattr(q, "rsample_and_log_prob"):  # as zuko's flows have it
        return q.rsample_and_log_prob(draws)
    if not isinstance(q, TransformedDistribution):
        return q.rsample(draws), None
    z, log_q = draw_with_density(q.base_dist, draws)
    log_q = q.base_dist.log_prob(z) if log_q is None else log_q
    for transform in q.transforms:
        before, z = z, transform(z)
        log_det = transform.log_abs_det_jacobian(before, z)
        # one value for each number of z where the transform works number by number
        log_q = log_q - (log_det.flatten(log_q.dim()).sum(-1) if log_det.dim() > log_q.dim() else log_det)
    return z, log_q


def log_mean(log_weights: Tensor) -> Tensor:
    """log 1/k Σ_j w_j of k weights, (…).

    Args:
        log_weights: log w, (k, …).

    >>> import torch
    >>> log_mean(torch.tensor([2.0, 4.0]).log()).exp()
    tensor(3.)
    """
    return log_weights.logsumexp(0) - math.log(len(log_weights))


def centre(distribution: Distribution) -> Tensor:
    """The mean where there is one; for a flow the image of its base's centre.

    Args:
        distribution: distribution over codes; the result has its batch and event shape.

    Raises:
        NotOffered: if the distribution has neither a mean nor a base.

    >>> import torch
    >>> from torch.distributions import ExpTransform, Normal
    >>> centre(Normal(3.0, 1.0)), centre(TransformedDistribution(Normal(0.0, 1.0), ExpTransform()))
    (tensor(3.), tensor(1.))
    """
    if isinstance(distribution, TransformedDistribution):
        code = centre(distribution.base_dist)
        for transform in distribution.transforms:
            code = transform(code)
        return code
    if isinstance(distribution, Independent):
        return centre(distribution.base_dist)
    try:
        return distribution.mean
    except NotImplementedError as error:
        # a flow of zuko, whose transform leads to the noise
        to_noise, noise = getattr(distribution, "transform", None), getattr(distribution, "base", None)
        if to_noise is not None and noise is not None:
            return to_noise.inv(centre(noise))
        raise NotOffered(f"{type(distribution).__name__} does not have a mean") from error


def has_mean(distribution: Distribution) -> bool:
    """Whether the distribution has a mean."""
    try:
        return distribution.mean is not None
    except NotImplementedError:
        return False


def representative(distribution: Distribution) -> Tensor:
    """An image to look at: the mean of p(x|z) where it has one, else a draw, as for an autoregressive decoder."""
    try:
        return distribution.mean
    except NotImplementedError:
        return distribution.sample()
