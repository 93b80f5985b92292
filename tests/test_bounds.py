"""The evaluator against exact evidence, against a direct sum, and with exactly k samples."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from helpers import LinearGaussian, small_vae
from vae_lab.evaluation.bounds import active_units, bounds_of_set, over_draws, summary
from vae_lab.models import Bounds


def worse(model: LinearGaussian, factor: float = 1.4) -> LinearGaussian:
    """The same model with a posterior that is not the exact one."""
    exact = model.encoder
    model.encoder = lambda x: Independent(Normal(exact(x).mean, factor * exact(x).variance.sqrt()), 1)
    return model


def test_every_bound_is_the_evidence_at_the_exact_posterior():
    model = LinearGaussian()
    x = model.decoder(model.prior().sample((5,))).sample()
    found = model.bounds(x, k=7)
    torch.testing.assert_close(found.nll, -model.evidence(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.nelbo, -model.evidence(x), rtol=0, atol=1e-9)


def test_the_importance_weighted_bound_reaches_the_evidence():
    model = worse(LinearGaussian())
    x = model.decoder(model.prior().sample((1,))).sample().expand(400, -1, -1, -1)
    found = model.bounds(x, k=2000).nll
    # 400 estimates of one number; at k = 2000 their bias is far below their spread
    error = (found.mean() + model.evidence(x[:1])[0]).abs()
    assert error < 4 * found.std() / math.sqrt(400) + 1e-3


def test_the_bound_does_not_get_worse_with_k_and_never_passes_the_nelbo():
    model = worse(LinearGaussian())
    x = model.decoder(model.prior().sample((2000,))).sample()
    found = [model.bounds(x, k=k).nll.mean().item() for k in (1, 5, 50)]
    assert found[0] > found[1] > found[2] > -model.evidence(x).mean().item() - 0.05
    one = model.bounds(x, k=1)
    torch.testing.assert_close(one.nll, one.nelbo)


@pytest.mark.parametrize("k", [1, 5, 64, 101])
@pytest.mark.parametrize("at_once", [1, 30, 4096])
def test_exactly_k_samples_whatever_the_chunks(k, at_once):
    model, drawn, encoded = small_vae(), [], []
    decoder, encoder = model.decoder.forward, model.encoder.forward
    model.decoder.forward = lambda z: (drawn.append(z.shape[:-1]), decoder(z))[1]
    model.encoder.forward = lambda x: (encoded.append(len(x)), encoder(x))[1]
    model.bounds(torch.rand(6, 1, 28, 28).round(), k, at_once)
    assert sum(codes * images for codes, images in drawn) == 6 * k
    assert all(codes * images <= at_once for codes, images in drawn)
    assert sum(encoded) == 6


def test_chunks_add_up_to_the_direct_sum():
    model = small_vae().double()
    x = torch.rand(4, 1, 28, 28, dtype=torch.float64).round()
    torch.manual_seed(1)
    found = model.bounds(x, k=96, at_once=128)  # all images together, and a third of the draws
    torch.manual_seed(1)
    q, p = model.encoder(x), model.prior()
    z = torch.cat([q.rsample((32,)) for _ in range(3)])
    log_w = model.decoder(z).log_prob(x) + p.log_prob(z) - q.log_prob(z)
    torch.testing.assert_close(found.nll, -log_w.exp().mean(0).log(), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.nelbo, -log_w.mean(0), rtol=1e-10, atol=0)
    torch.testing.assert_close(found.kl + found.reconstruction, found.nelbo)


def test_a_set_is_summed_over_its_images():
    model = small_vae()
    x = torch.rand(7, 1, 28, 28).round()
    found = bounds_of_set(model, [(x[:5], x[:5]), (x[5:], x[5:])], k=3)
    assert found.nll.shape == (7,)
    figures = summary(found, 3)
    assert figures["nll_iwae_3"] == pytest.approx(found.nll.mean().item(), rel=1e-6)
    assert figures["nll_iwae_3_se"] == pytest.approx(found.nll.std().item() / 7**0.5, rel=1e-5)


def test_log_prob_is_the_bound_of_each_image():
    model = small_vae()
    x = torch.rand(3, 1, 28, 28).round()
    torch.manual_seed(0)
    found = model.log_prob(x, k=20)
    torch.manual_seed(0)
    torch.testing.assert_close(found, -model.bounds(x, 20).nll)
    assert not found.requires_grad


def test_active_units_counts_what_varies():
    means = torch.randn(1000, 5) * torch.tensor([1.0, 0.05, 0.2, 0.0, 3.0])
    assert active_units(means) == 3


def test_the_spread_over_draws_of_the_bits():
    nll = torch.tensor([90.0, 92.0])  # of two images
    shifted = [nll + shift for shift in (-1, 0, 1)]
    figures = over_draws([Bounds(nelbo=nll + 3, kl=nll, reconstruction=nll, nll=nll) for nll in shifted], 7)
    assert figures["bit_draws_7"] == 3
    assert figures["nll_iwae_7_over_draws"] == pytest.approx(91)
    assert figures["nelbo_7_over_draws"] == pytest.approx(94)
    assert figures["nll_iwae_7_over_draws_sd"] == figures["nelbo_7_over_draws_sd"] == pytest.approx(1)
