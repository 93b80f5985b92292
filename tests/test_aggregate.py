"""The two parts of the KL against an integral over the plane, and at their limits."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal

from helpers import SHAPE, small_vae
from vae_lab.errors import NotOffered
from vae_lab.evaluation import aggregate
from vae_lab.evaluation.aggregate import evenly, kl_in_two, log_of_mixture


def with_posteriors(mean: torch.Tensor, deviation: float):
    """A VAE whose image n, of value n / 255, has the posterior N(mean_n, deviation²)."""
    model = small_vae(mean.shape[1])
    numbers = torch.cat((mean, torch.full_like(mean, 2 * math.log(deviation))), -1)
    model.encoder.numbers = lambda x: numbers[(255 * x[:, 0, 0, 0]).round().long()]
    return model, torch.arange(len(mean), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, *SHAPE)


def test_the_parts_are_those_of_an_integral_over_the_plane():
    mean = torch.randn(6, 2)
    model, x = with_posteriors(mean, 0.6)
    line = torch.linspace(-6, 6, 241, dtype=torch.float64)
    grid = torch.cartesian_prod(line, line)
    of_each = Independent(Normal(mean.double(), 0.6), 1).log_prob(grid[:, None])
    mixture = of_each.exp().mean(1)
    prior = Independent(Normal(torch.zeros(2).double(), 1.0), 1).log_prob(grid)
    cell = (line[1] - line[0]) ** 2
    marginal = (cell * mixture * (mixture.log() - prior)).sum().item()
    information = (cell * of_each.exp() * (of_each - mixture.log()[:, None])).sum(0).mean().item()
    # each image 40 times: the mixture stays the same, and the codes are many
    found = [kl_in_two(model, x.repeat(40, 1, 1, 1)) for _ in range(10)]
    for name, exact in (("marginal_kl", marginal), ("mutual_information", information)):
        values = torch.tensor([one[name] for one in found])
        assert (values.mean() - exact).abs() < 5 * values.std() / math.sqrt(10), name


def test_codes_that_name_their_image_have_all_the_information_there_is():
    model, x = with_posteriors(10 * torch.randn(50, 3), 0.01)
    found = kl_in_two(model, x)
    assert found["mutual_information"] == pytest.approx(math.log(50), abs=1e-4)
    assert found["mixture_images"] == 50


def test_codes_from_the_prior_say_nothing_and_leave_nothing_to_gain():
    model, x = with_posteriors(torch.zeros(50, 3), 1.0)
    found = kl_in_two(model, x)
    assert found["mutual_information"] == pytest.approx(0, abs=1e-5)
    assert found["marginal_kl"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_the_mixture_is_the_direct_sum_whatever_the_parts(at_once):
    q = Independent(Normal(torch.randn(5, 2).double(), 0.5), 1)
    z = torch.randn(7, 2).double()
    direct = torch.stack([q.log_prob(code).exp().mean().log() for code in z])
    torch.testing.assert_close(log_of_mixture(q, z, at_once), direct)


def test_fewer_codes_are_compared_with_all_posteriors(monkeypatch):
    model, x = with_posteriors(10 * torch.randn(50, 3), 0.01)
    monkeypatch.setattr(aggregate, "CODES", 7)
    found = kl_in_two(model, x)
    assert found["mutual_information"] == pytest.approx(math.log(50), abs=1e-4)
    assert evenly(torch.arange(50), 7).tolist() == [0, 7, 14, 21, 28, 35, 42]


def test_a_model_with_layers_is_left_out_with_a_reason():
    model = small_vae()
    model.inferred_from = lambda numbers: [numbers]
    with pytest.raises(NotOffered, match="one posterior over the whole code"):
        kl_in_two(model, torch.zeros(2, *SHAPE))
