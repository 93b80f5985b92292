"""A decoder asked position by position: the same network at every size."""

import math

import pytest
import torch
from torch.nn.functional import silu

from helpers import SHAPE, assert_nothing_is_cut_off, small_vae
from vae_lab.decoders import CoordinateDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.errors import NotOffered
from vae_lab.figures import images
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.models import VAE
from vae_lab.priors import StandardNormal


def decoder(shape=SHAPE, likelihood=None, **options):
    torch.manual_seed(0)
    made = CoordinateDecoder(3, [12, 10], likelihood or Bernoulli(), shape, **({"width": 7} | options))
    for parameter in made.parameters():
        parameter.data.normal_(std=0.5)
    return made


def one_pixel(made, z, row, column, height, width):
    """Outputs of one pixel: its features by their formula, then every layer on the joined vector."""
    y, x = 2 * (row + 0.5) / height - 1, 2 * (column + 0.5) / width - 1
    angles = [2**f * math.pi * p for f in range(made.frequencies) for p in (y, x)]
    gamma = torch.tensor([y, x, *map(math.sin, angles), *map(math.cos, angles)], dtype=z.dtype)
    code = z
    for layer in made.of_code[::2]:
        code = silu(torch.nn.functional.linear(code, layer.weight, layer.bias))
    weight = torch.cat((made.position_in.weight, made.code_in.weight), 1)
    hidden = weight @ torch.cat((gamma, code)) + made.code_in.bias
    for layer in made.net[1::2]:
        hidden = layer.weight @ silu(hidden) + layer.bias
    return hidden


@pytest.mark.parametrize("size", [(28, 28), (5, 9)])
def test_an_image_is_the_network_evaluated_pixel_by_pixel(size):
    made = decoder(frequencies=3, layers=3).double()
    made.position_in.double()
    z = torch.randn(3, dtype=torch.float64)
    logits = made.of_size(z, *size).base_dist.logits[0]
    for row, column in ((0, 0), (2, 7), (4, 3), (size[0] - 1, size[1] - 1)):
        expected = one_pixel(made, z, row, column, *size)[0]
        torch.testing.assert_close(logits[row, column], expected, rtol=1e-5, atol=1e-5)  # features are in float32


@pytest.mark.parametrize("times", [3, 5])
def test_no_size_changes_the_values_of_positions_that_sizes_share(times):
    made, z = decoder(), torch.randn(2, 3)
    small, large = made(z).mean, made.of_size(z, 28 * times, 28 * times).mean
    middle = times // 2
    torch.testing.assert_close(large[..., middle::times, middle::times], small, rtol=1e-5, atol=1e-6)


def test_the_size_of_training_is_one_of_all_sizes():
    made, z = decoder(), torch.randn(2, 3)
    assert torch.equal(made(z).mean, made.of_size(z, 28, 28).mean)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learned="per_pixel")])
def test_every_size_shape_and_likelihood_has_its_distribution(likelihood):
    made = decoder((3, 7, 5), likelihood)
    found = made(torch.randn(4, 2, 3))
    assert (found.batch_shape, found.event_shape) == ((4, 2), (3, 7, 5))
    assert made.of_size(torch.randn(3), 1, 11).event_shape == (3, 1, 11)
    found.log_prob(torch.rand(2, 3, 7, 5)).sum().backward()
    for name, parameter in [(n, p) for n, p in made.named_parameters() if p.requires_grad]:
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_parts_without_a_gradient_give_the_same_images(monkeypatch):
    made, z = decoder(), torch.randn(7, 3)
    whole = made(z).mean
    monkeypatch.setattr("vae_lab.decoders.coordinate.AT_ONCE", 3 * 784 * 7)
    with torch.no_grad():
        torch.testing.assert_close(made(z).mean, whole)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learned="per_pixel")])
def test_it_starts_at_the_mean_of_each_channel(likelihood):
    made, mean = decoder((3, 4, 4), likelihood), 0.1 + 0.8 * torch.rand(3, 4, 4)
    made.net[-1].weight.data.zero_()  # what is left is what the bias says
    made.start_at(mean)
    torch.testing.assert_close(made(torch.randn(2, 3)).mean, mean.mean((1, 2), keepdim=True).expand(2, 3, 4, 4))


def test_a_model_decodes_at_every_size():
    model = VAE(MLPEncoder(3, [8], SHAPE), decoder(), StandardNormal(3))
    z = torch.randn(2, 3)
    assert torch.equal(model.decode(z), model.decode(z, size=28))
    assert model.decode(z, size=56).shape == (2, 1, 56, 56)
    assert model.decode(z, size=(3, 40)).shape == (2, 1, 3, 40)
    with pytest.raises(ValueError, match="at least one pixel"):
        model.decode(z, size=0)


def test_other_decoders_say_that_they_have_one_size():
    with pytest.raises(NotOffered, match="MLPDecoder gives images of one size; decoder=coordinate gives every size"):
        small_vae().decode(torch.zeros(1, 2), size=56)


def test_the_figure_shows_each_size_in_a_row():
    figure = images.resolutions([torch.rand(4, 1, 6 * k, 5 * k) for k in (1, 2, 4)])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["6 × 5", "12 × 10", "24 × 20"]
    assert_nothing_is_cut_off(figure)
