"""Gaussian posteriors."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.annotations import Size
from vae_lab.distributions.normal import FactoredNormal, diagonal_normal
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
        return diagonal_normal(numbers)


class FullNormal(Posterior):
    """q(z|x) = N(z; μ, L Lᵀ), with L = diag(σ) (I + T) and T strictly lower triangular.

    The numbers are the means, the log-variances log σ² and T row by row, D + D + D (D − 1) / 2 of them. L has the
    positive diagonal σ whatever they are, and T near zero is nearly a diagonal normal.

    Source: Kingma and Welling, An Introduction to Variational Autoencoders (2019), section 2.5.1,
    https://arxiv.org/abs/1906.02691

    Args:
        latent_dim: length D of z.

    >>> FullNormal(latent_dim=3)(torch.zeros(5, 9)).sample().shape
    torch.Size([5, 3])
    """

    places: Tensor
    identity: Tensor

    def __init__(self, latent_dim: Size) -> None:
        super().__init__(latent_dim, 2 * latent_dim + latent_dim * (latent_dim - 1) // 2)
        rows, columns = torch.tril_indices(latent_dim, latent_dim, -1)
        self.register_buffer("places", rows * latent_dim + columns, persistent=False)
        self.register_buffer("identity", torch.eye(latent_dim), persistent=False)

    def forward(self, numbers: Tensor) -> Distribution:
        """q(z|x) from means, log-variances and the entries of T."""
        d = self.latent_dim
        mean, log_variance, below = numbers.tensor_split((d, 2 * d), dim=-1)
        flat = below.new_zeros(*below.shape[:-1], d * d).index_copy(-1, self.places, below)
        lower = (0.5 * log_variance).exp()[..., None] * (flat.unflatten(-1, (d, d)) + self.identity)
        return FactoredNormal(mean, lower)
