"""Gaussian posteriors."""

from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_lab.annotations import Size
from vae_lab.posteriors.base import Posterior


class DiagonalNormal(Posterior):
    """q(z|x) = N(z; μ, diag σ²), with the means before the log-variances.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), appendix C.2, https://arxiv.org/abs/1312.6114

    Args:
        latent_dim: length of z.

    >>> import torch
    >>> DiagonalNormal(latent_dim=2)(torch.zeros(3, 4)).sample().shape
    torch.Size([3, 2])
    """

    def __init__(self, latent_dim: Size) -> None:
        super().__init__(latent_dim, 2 * latent_dim)

    def forward(self, numbers: Tensor) -> Distribution:
        """q(z|x) from means and log-variances."""
        mean, log_variance = numbers.chunk(2, dim=-1)
        return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)
