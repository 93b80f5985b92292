"""Normal distributions over codes: of independent numbers, and with correlations given by the covariance's factor."""

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal, register_kl


def diagonal_normal(numbers: Tensor) -> Distribution:
    """N(z; μ, diag σ²) of means and log-variances, the means first.

    Args:
        numbers: μ and log σ², (…, 2 × latent).

    >>> diagonal_normal(torch.zeros(5, 4)).event_shape
    torch.Size([2])
    """
    mean, log_variance = numbers.chunk(2, dim=-1)
    return Independent(Normal(mean, (0.5 * log_variance).exp(), validate_args=False), 1, validate_args=False)


class FactoredNormal(MultivariateNormal):
    """N(z; μ, L Lᵀ), whose draws z = μ + L ε carry their density.

        log q(z) = −½ ‖ε‖² − Σ_i log L_ii − ½ D log 2π

    The density of a draw needs no system of equations to be solved, since its ε is known.

    Args:
        loc: mean μ, (…, latent).
        scale_tril: lower triangular factor L with a positive diagonal, (…, latent, latent).
    """

    def __init__(self, loc: Tensor, scale_tril: Tensor) -> None:
        super().__init__(loc, scale_tril=scale_tril, validate_args=False)

    def rsample_and_log_prob(
        self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Draws that can be differentiated, (*sample_shape, …, latent), and their log-densities in nats."""
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        # the factor is not copied for each draw, as a product that broadcasts would do
        lines = noise.reshape(-1, *self.loc.shape)
        z = self.loc + torch.einsum("...ij,n...j->n...i", self.scale_tril, lines).view(shape)
        constant = self._log_diagonal + 0.5 * math.log(2 * math.pi) * shape[-1]
        return z, -0.5 * torch.linalg.vecdot(noise, noise) - constant

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Draws that can be differentiated, (*sample_shape, …, latent)."""
        return self.rsample_and_log_prob(sample_shape)[0]

    @property
    def _log_diagonal(self) -> Tensor:
        """Σ_i log L_ii, (…)."""
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)


@register_kl(FactoredNormal, Independent)  # type: ignore[untyped-decorator]
def _kl_of_independent(q: FactoredNormal, p: Independent) -> Tensor:  # type: ignore[type-arg]
    """KL(q ‖ p) in nats for p = N(m, diag s²).

    ½ Σ_i [ (Σ_j L_ij² + (μ_i − m_i)²) / s_i² − 1 + log s_i² ] − Σ_i log L_ii
    """
    normal = p.base_dist
    if not isinstance(normal, Normal) or p.reinterpreted_batch_ndims != 1:
        raise NotImplementedError(f"no closed form of KL(q ‖ p) is known for {type(normal).__name__}")
    squares = q.scale_tril.square().sum(-1) + (q.loc - normal.loc).square()
    terms = squares / normal.variance - 1 + 2 * normal.scale.log()
    return 0.5 * terms.sum(-1) - q._log_diagonal
