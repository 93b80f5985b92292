"""A normal given by its factor agrees with torch's own, in double precision."""

import pytest
import torch
from torch.distributions import Independent, Laplace, MultivariateNormal, Normal, kl_divergence

from vae_lab.distributions.normal import FactoredNormal


def factored(images: int, latent: int) -> FactoredNormal:
    lower = torch.randn(images, latent, latent, dtype=torch.float64).tril(-1)
    lower += torch.diag_embed(torch.rand(images, latent, dtype=torch.float64) + 0.3)
    return FactoredNormal(torch.randn(images, latent, dtype=torch.float64), lower)


@pytest.mark.parametrize("latent", [1, 2, 7])
def test_kl_is_torchs_of_two_normals_with_correlations(latent):
    q = factored(5, latent)
    mean, scale = torch.randn(latent).double(), torch.rand(latent).double() + 0.5
    p = Independent(Normal(mean, scale), 1)
    expected = kl_divergence(
        MultivariateNormal(q.loc, scale_tril=q.scale_tril), MultivariateNormal(mean, scale.square().diag())
    )
    torch.testing.assert_close(kl_divergence(q, p), expected, rtol=1e-12, atol=1e-12)


def test_kl_to_another_family_has_no_closed_form():
    p = Independent(Laplace(torch.zeros(2).double(), 1), 1)
    with pytest.raises(NotImplementedError, match="Laplace"):
        kl_divergence(factored(3, 2), p)


@pytest.mark.parametrize("draws", [(), (4,), (2, 3)])
def test_draws_carry_torchs_density(draws):
    q = factored(5, 3)
    z, log_q = q.rsample_and_log_prob(draws)
    assert z.shape == (*draws, 5, 3)
    torch.testing.assert_close(log_q, MultivariateNormal(q.loc, scale_tril=q.scale_tril).log_prob(z))


def test_draws_have_the_covariance():
    q, n = factored(2, 3), 40_000
    z = q.sample((n,))
    for image in range(2):
        exact = q.covariance_matrix[image]
        # a covariance has the standard error √((c_ii c_jj + c_ij²) / n); 5 of them are exceeded once in 100,000 draws
        error = ((exact.diag()[:, None] * exact.diag() + exact.square()) / n).sqrt()
        assert ((z[:, image].T.cov() - exact).abs() < 5 * error).all()
