"""Every prior is a density with samples that follow it, in any number of dimensions."""

import pytest
import torch

from helpers import SHAPE
from vae_lab.encoders import MLPEncoder
from vae_lab.priors import ContinuousFlow, Flow, Mixture, PlanarFlow, StandardNormal, Vamp


def vamp(latent_dim: int) -> Vamp:
    made = Vamp(components=20)
    made.bind(MLPEncoder(latent_dim, [30], SHAPE).double(), SHAPE)
    return made


PRIORS = {
    "standard_normal": StandardNormal,
    "mixture": Mixture,
    "planar_flow": PlanarFlow,
    "vamp": vamp,
    "spline": lambda latent_dim: Flow(latent_dim, "spline", transforms=2, hidden_dims=[16]),
    "autoregressive": lambda latent_dim: Flow(latent_dim, "autoregressive", transforms=2, hidden_dims=[16]),
    "continuous_flow": lambda latent_dim: ContinuousFlow(latent_dim, [8], steps=2),
}


def prior(name: str, latent_dim: int):
    made = PRIORS[name](latent_dim).double()
    for parameter in made.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("name", PRIORS)
def test_density_integrates_to_one(name):
    line = torch.linspace(-9, 9, 601, dtype=torch.float64)
    plane = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    with torch.no_grad():
        density = prior(name, 2)().log_prob(plane).exp()
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("latent_dim", [1, 2, 64])
def test_shapes(name, latent_dim):
    p = prior(name, latent_dim)()
    z = p.sample((3, 5))
    assert z.shape == (3, 5, latent_dim)
    assert p.log_prob(z).shape == (3, 5)


@pytest.mark.parametrize("name", PRIORS)
def test_samples_follow_the_density(name):
    p = prior(name, 2)()
    n, line = 40_000, torch.linspace(-14, 14, 561, dtype=torch.float64)
    z = p.sample((n,))
    plane = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    with torch.no_grad():
        density = p.log_prob(plane).exp()
    for dim in (0, 1):
        marginal = torch.trapezoid(density, line, dim=1 - dim)
        cumulative = torch.cumulative_trapezoid(marginal, line)
        share = (z[:, dim, None] <= line[1:]).double().mean(0)
        # Kolmogorov's distance exceeds 2.2 / √n once in 8,000 times
        assert (share - cumulative).abs().max() < 2.2 / n**0.5


@pytest.mark.parametrize("name", PRIORS)
def test_every_parameter_learns(name):
    made = prior(name, 3)
    if not list(made.parameters()):
        pytest.skip("nothing to learn")
    made().log_prob(torch.randn(20, 3, dtype=torch.float64)).sum().backward()
    for parameter_name, parameter in made.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert (parameter.grad != 0).any(), parameter_name


def test_mixture_is_the_sum_that_its_formula_says():
    made = prior("mixture", 2)
    z = torch.randn(7, 2, dtype=torch.float64)
    weights, scales = made.logits.softmax(0), made.log_scales.exp()
    squares = ((z[:, None] - made.means) / scales) ** 2
    norm = 2 * torch.pi * scales.prod(1)
    by_hand = (weights * (-0.5 * squares.sum(-1)).exp() / norm).sum(1).log()
    torch.testing.assert_close(made().log_prob(z), by_hand, rtol=0, atol=1e-12)


def test_mixture_components_start_apart():
    means = Mixture(2, components=10).means
    assert torch.pdist(means).min() > 0.01
