"""Likelihoods against direct sums in float64."""

import math

import pytest
import torch

from vae_lab.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, Gaussian, LogisticMixture


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("shape", [(5, 1, 28, 28), (3, 5, 1, 32, 32), (5, 1, 3, 5)])
def test_bernoulli_log_prob_is_the_direct_sum(shape, gradient):
    logits = 3 * torch.randn(shape, dtype=torch.float64)
    x = torch.rand(shape[-4:], dtype=torch.float64).round()
    y = 1 / (1 + (-logits).exp())
    by_hand = (x * y.log() + (1 - x) * (1 - y).log()).sum((-3, -2, -1))
    with torch.set_grad_enabled(gradient):
        torch.testing.assert_close(Bernoulli()(logits).log_prob(x), by_hand, rtol=1e-12, atol=0)


@pytest.mark.parametrize("gradient", [True, False])
def test_bernoulli_in_float32_stays_near_float64_at_extreme_logits(gradient):
    logits = torch.linspace(-100, 100, 784).view(1, 1, 28, 28)
    x = (torch.arange(784) % 2).view(1, 1, 28, 28).float()
    with torch.set_grad_enabled(gradient):
        single = Bernoulli()(logits).log_prob(x)
    double = Bernoulli()(logits.double()).log_prob(x.double())
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "likelihood", [Bernoulli(), ContinuousBernoulli(), Gaussian(learned=True, squash=False), Gaussian(learned=True)]
)
def test_gradients_are_those_of_finite_differences(likelihood):
    likelihood.double()
    output = torch.randn(2, 3, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    x = torch.rand(3, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    parameters = [p for p in likelihood.parameters() if p.requires_grad]
    inputs = (output, x, *parameters)
    assert torch.autograd.gradcheck(lambda output, x, *_: likelihood(output).log_prob(x), inputs)
    assert torch.autograd.gradgradcheck(lambda output, x, *_: likelihood(output).log_prob(x), inputs)


@pytest.mark.parametrize("scale", [0.1, math.sqrt(0.5)])
def test_gaussian_log_prob_is_the_direct_sum(scale):
    output, x = torch.randn(4, 1, 28, 28, dtype=torch.float64), torch.rand(4, 1, 28, 28, dtype=torch.float64)
    squared = (x - output) ** 2
    by_hand = (-squared / (2 * scale**2) - math.log(scale) - 0.5 * math.log(2 * math.pi)).sum((1, 2, 3))
    likelihood = Gaussian(scale=scale, squash=False).double()
    torch.testing.assert_close(likelihood(output).log_prob(x), by_hand, rtol=1e-6, atol=0)


def test_gaussian_of_variance_one_half_is_the_sum_of_squared_errors():
    output, x = torch.randn(4, 1, 28, 28), torch.rand(4, 1, 28, 28)
    squares = ((output.sigmoid() - x) ** 2).sum((1, 2, 3))
    nll = -Gaussian()(output).log_prob(x)
    torch.testing.assert_close(nll - squares, torch.full((4,), 392 * math.log(math.pi)))


def test_a_learned_scale_finds_the_spread_of_the_data():
    likelihood = Gaussian(scale=1.0, learned=True, squash=False)
    x = 0.2 * torch.randn(200, 1, 28, 28)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (-likelihood(torch.zeros_like(x)).log_prob(x).mean() / 784).backward()
        optimizer.step()
    assert likelihood.log_scale.exp().item() == pytest.approx(0.2, rel=0.02)
    assert not Gaussian().log_scale.requires_grad


@pytest.mark.parametrize(
    "likelihood",
    [
        Bernoulli(),
        Gaussian(squash=True),
        Gaussian(squash=False),
        Gaussian(learned="per_pixel"),
        Categorical(),
        Categorical(levels=3),
        LogisticMixture(),
        LogisticMixture(components=1, scale=0.01),
        ContinuousBernoulli(),
    ],
)
def test_link_gives_the_output_whose_mean_it_is(likelihood):
    mean = torch.rand(1, 28, 28) * 0.9 + 0.05
    torch.testing.assert_close(likelihood(likelihood.link(mean)).mean, mean, rtol=1e-5, atol=1e-5)
    assert likelihood.link(mean).shape == (likelihood.outputs, 28, 28)
    assert likelihood.link(torch.zeros(1, 28, 28)).isfinite().all()


@pytest.mark.parametrize("width", [-30.0, -1.0, 0.0, 4.0])
def test_the_density_of_a_pixel_with_its_own_scale_integrates_to_one(width):
    likelihood = Gaussian(scale=0.4, learned="per_pixel", squash=False).double()
    pixels = likelihood(torch.tensor([0.3, width], dtype=torch.float64).view(2, 1, 1))
    scale = pixels.stddev.item()
    assert scale >= 1 / 256
    x = torch.linspace(0.3 - 12 * scale, 0.3 + 12 * scale, 4001, dtype=torch.float64)
    density = pixels.log_prob(x.view(-1, 1, 1, 1)).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-6)


def test_scales_of_pixels_find_the_spread_of_the_data():
    likelihood = Gaussian(scale=0.5, learned="per_pixel", squash=False)
    spread = torch.tensor([[0.02, 0.1], [0.3, 1.0]])
    x = spread * torch.randn(4000, 1, 2, 2)
    output = torch.zeros(2, 2, 2, requires_grad=True)
    optimizer = torch.optim.Adam([output], lr=0.1)
    for _ in range(400):
        optimizer.zero_grad()
        (-likelihood(output).log_prob(x).mean()).backward()
        optimizer.step()
    torch.testing.assert_close(likelihood(output).stddev[0].detach(), spread, rtol=0.06, atol=0)


def test_a_scale_for_each_pixel_starts_above_its_lower_bound():
    assert Gaussian(scale=0.3, learned="per_pixel")(torch.zeros(2, 3, 3)).stddev.unique().item() == pytest.approx(0.3)
    with pytest.raises(ValueError, match="above 1/256"):
        Gaussian(scale=0.001, learned="per_pixel")


LOGITS = [-300.0, -17.0, -1.1, -0.9, -1e-4, 0.0, 1e-3, 0.5, 1.0, 5.0, 40.0, 300.0]


@pytest.mark.parametrize("logit", LOGITS)
def test_the_density_of_a_continuous_bernoulli_integrates_to_one_and_has_its_mean(logit):
    pixel = ContinuousBernoulli()(torch.full((1, 1, 1), logit, dtype=torch.float64))
    x = torch.linspace(0, 1, 40_001, dtype=torch.float64)
    density = pixel.log_prob(x.view(-1, 1, 1, 1)).exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1, abs=1e-5)
    assert pixel.mean.item() == pytest.approx(torch.trapezoid(density * x, x).item(), abs=1e-5)
    drawn, below = pixel.sample((10_000,)).flatten(), torch.cumulative_trapezoid(density, x)
    found = torch.searchsorted(drawn.sort().values, x[1:]) / len(drawn)
    assert (found - below).abs().max() < 1.95 / len(drawn) ** 0.5  # Kolmogorov's distance, as in 999 of 1,000 cases


def test_a_continuous_bernoulli_is_torchs_own_where_that_is_exact():
    logits, x = 3 * torch.randn(4, 2, 9, 9, dtype=torch.float64), torch.rand(4, 2, 9, 9, dtype=torch.float64)
    pixels, of_torch = ContinuousBernoulli()(logits), torch.distributions.ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(pixels.log_prob(x), of_torch.log_prob(x).sum((1, 2, 3)), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(pixels.mean, of_torch.mean, rtol=1e-5, atol=1e-5)


def test_a_continuous_bernoulli_in_float32_is_finite_and_near_float64_at_extreme_logits():
    logits = torch.tensor([0.0, *(sign * 10.0**p for p in range(-6, 7) for sign in (-1, 1))]).view(1, 1, -1)
    logits.requires_grad_()
    for value in (0.0, 0.3, 1.0):
        single = ContinuousBernoulli()(logits).log_prob(torch.full_like(logits, value))
        double = ContinuousBernoulli()(logits.double()).log_prob(torch.full_like(logits, value).double())
        torch.testing.assert_close(single.double(), double, rtol=1e-6, atol=1e-5)
        (gradient,) = torch.autograd.grad(single, logits)
        # the slope of log p is x minus the mean
        torch.testing.assert_close(gradient, value - ContinuousBernoulli()(logits).mean, rtol=1e-4, atol=1e-6)
