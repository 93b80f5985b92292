"""The two KL estimators, against each other, torch's closed form and exact evidence."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from helpers import LinearGaussian, small_training, small_vae
from vae_lab.errors import NotOffered
from vae_lab.losses import KL, SGVB, NoClosedFormError
from vae_lab.models import Draws, Latent, Model
from vae_lab.priors import Mixture, StandardNormal


def posterior(images: int = 6, latent: int = 3) -> Independent:
    mean = torch.randn(images, latent, dtype=torch.float64)
    scale = torch.rand(images, latent, dtype=torch.float64) + 0.1
    return Independent(Normal(mean, scale), 1)


def draws(q, p, k: int = 1) -> Draws:
    return Draws([Latent(q, p, (k,))], torch.zeros(k, *q.batch_shape))


def test_kl_is_the_closed_form_of_the_formula_and_of_torch():
    q, p = posterior(), StandardNormal(3).double()()
    mean, variance = q.mean, q.variance
    by_hand = 0.5 * (mean**2 + variance - 1 - variance.log()).sum(1)
    (found,) = KL().kls(draws(q, p))
    torch.testing.assert_close(found, by_hand, rtol=0, atol=1e-12)
    torch.testing.assert_close(found, kl_divergence(q, p), rtol=0, atol=1e-12)


def test_sgvb_meets_the_closed_form_within_its_standard_error():
    q, p = posterior(), StandardNormal(3).double()()
    n = 200_000
    drawn = draws(q, p, n)
    z = drawn.z
    terms = q.log_prob(z) - p.log_prob(z)
    standard_error = terms.std(0) / math.sqrt(n)
    # six images at 4 standard errors: a false alarm once in 2,600 seeds, and the seed is fixed
    assert ((SGVB().kls(drawn)[0] - kl_divergence(q, p)).abs() < 4 * standard_error).all()


def test_sgvb_serves_a_mixture_and_kl_refuses_it():
    q, p = posterior(latent=2), Mixture(2, 4).double()()
    assert SGVB().kls(draws(q, p, 10))[0].isfinite().all()
    with pytest.raises(NoClosedFormError, match="no closed form"):
        KL().check(small_vae(prior=Mixture(2, 4)))
    with pytest.raises(NoClosedFormError):
        small_training(loss=KL(), prior=Mixture(2, 4))


def test_nelbo_of_a_linear_gaussian_model_is_its_exact_evidence():
    model = LinearGaussian()
    x = model.decoder(model.prior().sample((5,))).sample()
    # at the exact posterior log q(z|x) − log p(z) − log p(x|z) = −log p(x) for every single z
    figures = SGVB(samples=3)(model, x).figures
    torch.testing.assert_close(figures["nelbo"], -model.evidence(x), rtol=0, atol=1e-9)


def test_nelbo_never_beats_the_evidence_with_a_worse_posterior():
    model = LinearGaussian()
    x = model.decoder(model.prior().sample((50,))).sample()
    exact = model.encoder
    model.encoder = lambda images: Independent(Normal(exact(images).mean, exact(images).variance.sqrt()), 1)
    nelbo = KL(samples=4000)(model, x).figures["nelbo"]
    assert (nelbo > -model.evidence(x) - 0.05).all()
    assert nelbo.mean() > -model.evidence(x).mean()


@pytest.mark.parametrize("loss", [KL(), SGVB()])
@pytest.mark.parametrize("samples", [1, 4])
def test_coeff_weighs_the_kl_alone(loss, samples):
    loss.samples = samples
    model = small_vae()
    x = torch.rand(7, 1, 28, 28).round()
    for weight in (0.0, 0.3, 7.0):
        outcome = loss(model, x, weight)
        figures = outcome.figures
        assert figures["reconstruction"].shape == figures["kl"].shape == (7,)
        torch.testing.assert_close(figures["nelbo"], figures["reconstruction"] + figures["kl"])
        torch.testing.assert_close(outcome.loss, (figures["reconstruction"] + weight * figures["kl"]).mean())


def test_warm_up_climbs_to_coeff_and_stays():
    loss = KL(coeff=0.5, warmup_epochs=4)
    assert [loss.weight(epochs) for epochs in (0, 1, 2, 4, 40)] == [0, 0.125, 0.25, 0.5, 0.5]
    assert KL(coeff=3).weight(0) == 3


def test_reconstruction_averages_over_samples():
    model = small_vae()
    x = torch.rand(3, 1, 28, 28).round()
    torch.manual_seed(1)
    found = KL(samples=5)(model, x).figures["reconstruction"]
    torch.manual_seed(1)
    z = model.encoder(x).rsample((5,))
    by_hand = torch.stack([-model.decoder(z[i]).log_prob(x) for i in range(5)]).mean(0)
    torch.testing.assert_close(found, by_hand)


def test_a_loss_weighs_as_after_its_warm_up_unless_it_is_told_the_weight():
    model, x = small_vae(), torch.rand(7, 1, 28, 28).round()
    loss, figures = KL(coeff=4.0, warmup_epochs=3)(model, x)
    torch.testing.assert_close(loss, (figures["reconstruction"] + 4 * figures["kl"]).mean())


def test_checking_a_loss_leaves_the_model_and_the_random_state():
    model, state = small_vae(), torch.get_rng_state()
    KL().check(model)
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(NotOffered, match="does not have an encoder"):
        SGVB().check(Model((1, 28, 28)))


def layered_draws(above: float, below: float) -> tuple[Draws, list[torch.Tensor]]:
    """Two latent variables, N(m, I) of one dimension under N(0, 1), whose KL is ½ m² of each: given for each."""
    means = [torch.full((4,), math.sqrt(2 * kl), dtype=torch.float64).requires_grad_() for kl in (above, below)]
    standard = Independent(Normal(torch.zeros(1, dtype=torch.float64), 1.0), 1)
    latents = [Latent(Independent(Normal(mean[:, None], 1.0), 1), standard, (1,)) for mean in means]
    return Draws(latents, torch.full((1, 4), -3.0, dtype=torch.float64)), means


class Given(Model):
    """A model whose draws are given."""

    def __init__(self, given: Draws) -> None:
        super().__init__((1, 1, 1))
        self.given = given

    def numbers_of(self, x):
        return x.flatten(1)

    def inferred_from(self, numbers):
        return numbers

    def draw(self, *_):
        return self.given


def test_free_bits_cost_nothing_below_the_threshold_of_each_layer():
    given, (above, below) = layered_draws(0.3, 2.0)
    outcome = KL(coeff=0.5, free_bits=0.8)(Given(given), torch.zeros(4, 1, 1, 1))
    assert outcome.loss.item() == pytest.approx(3 + 0.5 * (0.8 + 2.0), abs=1e-12)
    assert outcome.figures["kl"].tolist() == pytest.approx([2.3] * 4)  # the reported KL is the true one
    outcome.loss.backward()
    assert not above.grad.any()
    torch.testing.assert_close(below.grad, 0.5 * below.detach() / 4)  # ∂(½ m²)/∂m, over four images


def test_free_bits_are_those_of_the_mean_over_the_batch():
    mean = torch.tensor([0.0, 2.0], dtype=torch.float64).requires_grad_()  # KL 0 and 2 nats, on average 1
    standard = Independent(Normal(torch.zeros(1, dtype=torch.float64), 1.0), 1)
    q = Independent(Normal(mean[:, None], 1.0), 1)
    for free_bits, kl, slope in ((0.9, 1.0, 1.0), (1.1, 1.1, 0.0)):
        mean.grad = None
        given = Given(Draws([Latent(q, standard, (1,))], torch.zeros(1, 2, dtype=torch.float64)))
        loss = KL(free_bits=free_bits)(given, torch.zeros(2, 1, 1, 1)).loss
        loss.backward(retain_graph=True)
        assert loss.item() == pytest.approx(kl, abs=1e-12)
        assert mean.grad.tolist() == pytest.approx([0, slope])


def test_free_bits_of_sgvb_are_those_of_its_estimate():
    given, _ = layered_draws(0.3, 2.0)
    estimates = [kl.mean().item() for kl in given.sampled_kls]
    loss = SGVB(free_bits=0.8)(Given(given), torch.zeros(4, 1, 1, 1)).loss
    assert loss.item() == pytest.approx(3 + sum(max(0.8, estimate) for estimate in estimates), abs=1e-12)
