"""The adversarial losses against their formulas: one number as an image, and discriminators known in closed form."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal

from vae_lab.decoders import MLPDecoder
from vae_lab.discriminators import MLPDiscriminator
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import Adversarial
from vae_lab.losses.adversarial import OF_DISCRIMINATOR, OF_GENERATOR, gradient_penalty
from vae_lab.models import GAN
from vae_lab.priors import StandardNormal

ONE = (1, 1, 1)


class Affine(nn.Module):
    """D(x) = a x + b of one number x."""

    image_shape = ONE

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(a)), nn.Parameter(torch.tensor(b))

    def forward(self, x):
        return self.a * x.flatten() + self.b


def line(discriminator=None) -> GAN:
    """A GAN of one number, in double precision."""
    decoder = MLPDecoder(1, [3], Bernoulli(), ONE)
    model = GAN(decoder, StandardNormal(1), discriminator or Affine(1.5, -0.4)).double()
    for weight in decoder.parameters():
        nn.init.normal_(weight)
    return model


FORMULAS = {
    "non_saturating": (lambda r, f: -math.log(s(r)) - math.log(1 - s(f)), lambda f: -math.log(s(f))),
    "hinge": (lambda r, f: max(0, 1 - r) + max(0, 1 + f), lambda f: -f),
    "wasserstein": (lambda r, f: f - r, lambda f: -f),
}


def s(output: float) -> float:
    return 1 / (1 + math.exp(-output))


@pytest.mark.parametrize("kind", FORMULAS)
def test_both_losses_are_the_formulas(kind):
    model, x = line(), torch.rand(7, *ONE, dtype=torch.float64)
    loss = Adversarial(kind, gradient_penalty=0)
    torch.manual_seed(3)
    samples = model.generate(7).detach()
    of_discriminator, of_generator = FORMULAS[kind]
    a, b = model.discriminator.a.item(), model.discriminator.b.item()
    pairs = [
        (a * real + b, a * fake + b)
        for real, fake in zip(x.flatten().tolist(), samples.flatten().tolist(), strict=True)
    ]
    for stage, expected in (
        ("discriminator", [of_discriminator(real, fake) for real, fake in pairs]),
        ("generator", [of_generator(fake) for _, fake in pairs]),
    ):
        torch.manual_seed(3)
        outcome = loss(model, x, stage=stage)
        assert outcome.loss.item() == pytest.approx(sum(expected) / 7, rel=1e-12)
        (name,) = [name for name in outcome.figures if name.endswith("loss")]
        torch.testing.assert_close(outcome.figures[name], torch.tensor(expected, dtype=torch.float64))


def test_the_optimal_discriminator_of_two_normals_has_the_loss_log_4_minus_2_jensen_shannon():
    real, fake = Normal(0.7, 1.0), Normal(-0.5, 1.6)
    grid = torch.linspace(-14, 14, 200_001, dtype=torch.float64)
    p, q = real.log_prob(grid).exp(), fake.log_prob(grid).exp()

    def value(outputs):
        """E of the loss with D's outputs on the grid, whose real and fake parts are separable."""
        at_zero = torch.zeros((), dtype=torch.float64)
        of_real = OF_DISCRIMINATOR["non_saturating"](outputs, at_zero) - math.log(2)
        of_fake = OF_DISCRIMINATOR["non_saturating"](at_zero, outputs) - math.log(2)
        return torch.trapezoid(p * of_real + q * of_fake, grid)

    optimal = (real.log_prob(grid) - fake.log_prob(grid)).requires_grad_()  # D* = log p − log q
    found = value(optimal)
    middle = (p + q) / 2
    jensen_shannon = torch.trapezoid(p * (p / middle).log() + q * (q / middle).log(), grid) / 2
    assert found.item() == pytest.approx(math.log(4) - 2 * jensen_shannon.item(), abs=1e-7)
    (slope,) = torch.autograd.grad(found, optimal)
    assert slope.abs().max() < 1e-7


def test_the_generators_gradient_at_the_optimal_discriminator_is_the_formula():
    # samples N(m, 1) and images N(0, 1): D*(x) = m²/2 − m x, and −log σ(D*) is differentiated through x alone
    m, n = 0.8, 400_000
    x = m + torch.randn(n, dtype=torch.float64)
    shift = torch.zeros((), dtype=torch.float64, requires_grad=True)
    output = m**2 / 2 - m * (x + shift)
    (found,) = torch.autograd.grad(OF_GENERATOR["non_saturating"](output).mean(), shift)
    grid = torch.linspace(-12, 12, 100_001, dtype=torch.float64)
    density = Normal(m, 1.0).log_prob(grid).exp()
    expected = torch.trapezoid(density * m * (1 - torch.sigmoid(m**2 / 2 - m * grid)), grid)
    assert found.item() == pytest.approx(expected.item(), abs=5 * 0.3 / math.sqrt(n))


def test_the_gradient_of_the_discriminator_stage_is_the_formula():
    # d/da of softplus(−(a x + b)) + softplus(a y + b) = −x σ(−(a x + b)) + y σ(a y + b)
    model, x = line(), torch.rand(9, *ONE, dtype=torch.float64)
    torch.manual_seed(5)
    y = model.generate(9).detach().flatten()
    torch.manual_seed(5)
    Adversarial()(model, x, stage="discriminator").loss.backward()
    a, b, x = model.discriminator.a.detach(), model.discriminator.b.detach(), x.flatten()
    of_a = -x * torch.sigmoid(-(a * x + b)) + y * torch.sigmoid(a * y + b)
    of_b = -torch.sigmoid(-(a * x + b)) + torch.sigmoid(a * y + b)
    torch.testing.assert_close(model.discriminator.a.grad, of_a.mean())
    torch.testing.assert_close(model.discriminator.b.grad, of_b.mean())


def test_the_gradient_penalty_and_its_gradient_are_those_of_a_known_function():
    # D(x) = x² c / 2: |∇D| = |c| |x|, penalty (|c| |x| − 1)², its derivative by c: 2 (|c| |x| − 1) |x| sign c
    c = torch.tensor(-1.7, dtype=torch.float64, requires_grad=True)
    x = torch.randn(6, 2, 3, 4, dtype=torch.float64)
    found = gradient_penalty(lambda y: c * y.square().flatten(1).sum(1) / 2, x)
    length = x.flatten(1).norm(dim=1)
    torch.testing.assert_close(found.detach(), (1.7 * length - 1).square())
    (slope,) = torch.autograd.grad(found.sum(), c)
    torch.testing.assert_close(slope, (-2 * (1.7 * length - 1) * length).sum())


def test_the_penalty_belongs_to_wasserstein_and_is_taken_between_images_and_samples():
    model, x = line(Affine(3.0, 0.0)), torch.rand(5, *ONE, dtype=torch.float64)
    assert "gradient_penalty" not in Adversarial()(model, x, stage="discriminator").figures
    outcome = Adversarial("wasserstein")(model, x, stage="discriminator")
    torch.testing.assert_close(outcome.figures["gradient_penalty"], torch.full((5,), 4.0, dtype=torch.float64))
    figures = outcome.figures
    expected = figures["d_fake"] - figures["d_real"] + 10 * 4
    torch.testing.assert_close(figures["d_loss"], expected)


def test_the_second_derivative_passes_through_a_normalised_discriminator():
    model = line(MLPDiscriminator([4], ONE))
    x = torch.rand(5, *ONE, dtype=torch.float64)
    Adversarial("wasserstein")(model, x, stage="discriminator").loss.backward()
    weights = [weight for name, weight in model.discriminator.named_parameters() if "original" in name]
    assert all(weight.grad.isfinite().all() and weight.grad.any() for weight in weights)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind=wgan must be one of non_saturating, hinge, wasserstein"):
        Adversarial("wgan")
