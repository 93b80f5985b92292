"""The Monte Carlo KL against closed forms and integrals, and its error against its spread."""

import math

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from vae_lab.evaluation import kl_estimates
from vae_lab.evaluation.kl_estimates import kl_by_integral, kl_curve, kl_value


def gaussians(n: int, latent: int = 2) -> Independent:
    return Independent(Normal(torch.randn(n, latent).double(), torch.rand(n, latent).double() + 0.3), 1)


def mixture(latent: int = 2) -> MixtureSameFamily:
    return MixtureSameFamily(Categorical(torch.rand(5).double()), gaussians(5, latent))


def test_the_integral_is_the_closed_form_where_there_is_one():
    q, p = gaussians(6), Independent(Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    torch.testing.assert_close(kl_by_integral(q, p), kl_divergence(q, p), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_the_estimate_meets_the_value_within_its_error(prior):
    q, p = gaussians(64), mixture()
    if prior == "gaussian":
        p = Independent(Normal(torch.zeros(2).double(), torch.ones(2).double()), 1)
    curve = kl_curve(q, p, torch.arange(1, 1002, 100))
    assert curve.method == ("closed form" if prior == "gaussian" else "numerical integral")
    # false alarm: 1 in 15,000
    assert abs(curve.estimate[-1].item() - curve.value) < 4 * curve.error[-1].item()
    assert curve.error[0].item() / curve.error[-1].item() == pytest.approx(math.sqrt(1001))


def test_the_standard_error_is_the_spread_of_repeated_estimates(monkeypatch):
    # the value, an integral of a fifth of a second, has no part in the spread
    monkeypatch.setattr(kl_estimates, "kl_value", lambda *_: (torch.zeros(16), "none"))
    q, p = gaussians(16), mixture()
    curves = [kl_curve(q, p, torch.tensor([20])) for _ in range(300)]
    spread = torch.stack([curve.estimate for curve in curves]).std()
    stated = torch.stack([curve.error for curve in curves]).mean()
    # 300 repetitions fix a standard deviation to 4 %, so that 20 % is five of those
    assert stated.item() == pytest.approx(spread.item(), rel=0.2)


def test_without_closed_form_and_off_the_plane_there_is_no_value():
    with pytest.raises(ValueError, match="latent_dim=2"):
        kl_value(gaussians(3, latent=3), mixture(latent=3))
