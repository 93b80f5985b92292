"""One representative of a distribution, for figures and codes."""

from torch import Tensor
from torch.distributions import Distribution, Independent, TransformedDistribution


def centre(distribution: Distribution) -> Tensor:
    """The mean where there is one; for a transformed distribution the transformed centre of its base.

    Args:
        distribution: over codes; its batch and event shapes are those of the result.

    Raises:
        NotImplementedError: if the distribution has neither a mean nor a base.

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
    return distribution.mean


def representative(distribution: Distribution) -> Tensor:
    """An image to look at: the mean of p(x|z) where it has one, else a draw, as of an autoregressive decoder."""
    try:
        return distribution.mean
    except NotImplementedError:
        return distribution.sample()
