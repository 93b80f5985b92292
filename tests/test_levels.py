"""Probabilities of levels against sums over all of them, in float64."""

import math

import pytest
import torch

from helpers import SHAPE
from vae_lab.decoders import (
    ConvDecoder,
    CoordinateDecoder,
    MLPDecoder,
    PixelCNNDecoder,
    ResNetDecoder,
    TransformerDecoder,
)
from vae_lab.encoders import MLPEncoder
from vae_lab.errors import ImageError
from vae_lab.evaluation.bounds import bits_per_dimension
from vae_lab.likelihoods import Bernoulli, Categorical, Gaussian, LogisticMixture
from vae_lab.models import VAE
from vae_lab.priors import StandardNormal

LEVELS = torch.arange(256, dtype=torch.float64).view(-1, 1, 1, 1) / 255
DISCRETE = {
    "categorical": Categorical(),
    "one logistic": LogisticMixture(components=1),
    "mixture": LogisticMixture(components=4, scale=0.02),
}


DECODERS = {
    "mlp": lambda likelihood, shape: MLPDecoder(3, [8], likelihood, shape),
    "conv": lambda likelihood, shape: ConvDecoder(3, [4], likelihood, shape, masked_kernel=3),
    "resnet": lambda likelihood, shape: ResNetDecoder(3, [4, 4], likelihood, shape),
    "coordinate": lambda likelihood, shape: CoordinateDecoder(3, [8], likelihood, shape, width=8),
    "pixelcnn": lambda likelihood, shape: PixelCNNDecoder(3, likelihood, shape, [8], layers=2, width=6),
    "transformer": lambda likelihood, shape: TransformerDecoder(3, likelihood, shape, 1, layers=1, width=8, heads=2),
}


def outputs(likelihood, size, spread=3.0, dtype=torch.float64):
    """Outputs of images (channels, height, width) at random."""
    return spread * torch.randn(likelihood.outputs * size[0], *size[1:], dtype=dtype)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("spread", [0.1, 3.0, 100.0])
def test_the_probabilities_of_all_levels_of_a_pixel_sum_to_one(name, spread):
    pixels = DISCRETE[name](outputs(DISCRETE[name], (1, 1, 1), spread))
    assert pixels.log_prob(LEVELS).logsumexp(0).item() == pytest.approx(0, abs=1e-12)


def test_categorical_log_prob_is_the_log_softmax_of_each_level():
    logits = outputs(Categorical(levels=5), (3, 4, 6)).expand(7, 2, -1, -1, -1)
    level = torch.randint(5, (2, 3, 4, 6))
    by_hand = logits.unflatten(-3, (5, 3)).log_softmax(-4)
    by_hand = sum(by_hand[..., k, :, :, :] * (level == k) for k in range(5)).sum((-3, -2, -1))
    found = Categorical(levels=5)(logits).log_prob(level / 4)
    assert found.shape == (7, 2)
    torch.testing.assert_close(found, by_hand)


def test_two_levels_are_a_bernoulli_pixel():
    output, x = outputs(Categorical(levels=2), (1, 5, 5)), torch.rand(3, 1, 5, 5).round().double()
    torch.testing.assert_close(
        Categorical(levels=2)(output).log_prob(x), Bernoulli()(output[1:] - output[:1]).log_prob(x)
    )


def test_a_logistic_mixture_is_the_difference_of_sigmoids_with_open_ends():
    likelihood = LogisticMixture(components=3, scale=0.1)
    output = outputs(likelihood, (2, 1, 1), 1.0)
    logits, location, width = output.view(3, 3, 2)
    scale = 0.0005 + (0.1 - 0.0005) * torch.log(1 + width.exp()) / math.log(2)
    for level in (0, 1, 100, 254, 255):
        upper = 1 if level == 255 else torch.sigmoid(((level + 0.5) / 255 - location) / scale)
        lower = 0 if level == 0 else torch.sigmoid(((level - 0.5) / 255 - location) / scale)
        by_hand = (logits.softmax(0) * (upper - lower)).sum(0).log().sum()
        image = torch.full((2, 1, 1), level / 255, dtype=torch.float64)
        torch.testing.assert_close(likelihood(output).log_prob(image), by_hand)


@pytest.mark.parametrize("name", DISCRETE)
@pytest.mark.parametrize("far", [1e2, 1e4])
def test_gradients_are_finite_and_float32_is_near_float64_far_out(name, far):
    likelihood = DISCRETE[name]
    x = torch.tensor([0, 1, 128, 254, 255]).view(1, 1, 5) / 255
    signs = torch.tensor([-1.0, 1.0])[torch.randint(2, (20, likelihood.outputs, 1, 5))]
    output = (far * signs).requires_grad_()
    found = likelihood(output).log_prob(x)
    (gradient,) = torch.autograd.grad(found.sum(), output)
    assert found.isfinite().all()
    assert gradient.isfinite().all()
    # a location 10⁴ away, divided by the smallest scale, is known to 1
    torch.testing.assert_close(found.double(), likelihood(output.double()).log_prob(x.double()), rtol=1e-4, atol=0.01)


@pytest.mark.parametrize("likelihood", [Categorical(levels=4), LogisticMixture(components=2)])
def test_gradients_are_those_of_finite_differences(likelihood):
    output = torch.randn(2, 3, 2 * likelihood.outputs, 2, 2, dtype=torch.float64).requires_grad_()
    x = torch.randint(likelihood.levels, (3, 2, 2, 2)).double() / (likelihood.levels - 1)
    assert torch.autograd.gradcheck(lambda output: likelihood(output).log_prob(x), output)
    assert torch.autograd.gradgradcheck(lambda output: likelihood(output).log_prob(x), output)


@pytest.mark.parametrize("name", DISCRETE)
def test_the_mean_is_the_expected_level(name):
    likelihood = DISCRETE[name]
    for spread in (0.1, 1.0, 10.0):
        pixels = likelihood(outputs(likelihood, (1, 1, 1), spread))
        expected = (pixels.log_prob(LEVELS).exp() * LEVELS.flatten()).sum().item()
        assert pixels.mean.item() == pytest.approx(expected, abs=1e-12 if name == "categorical" else 0.5 / 255)
    broad = DISCRETE[name](torch.zeros(likelihood.outputs, 1, 1, dtype=torch.float64))
    expected = (broad.log_prob(LEVELS).exp() * LEVELS.flatten()).sum().item()
    assert broad.mean.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", DISCRETE)
def test_samples_follow_the_probabilities(name):
    likelihood, n = DISCRETE[name], 20_000
    output = outputs(likelihood, (2, 1, 1), 1.0)
    drawn = likelihood(output).sample((n,))
    assert drawn.shape == (n, 2, 1, 1)
    torch.testing.assert_close((drawn * 255).round() / 255, drawn)
    below = likelihood(output[1::2]).log_prob(LEVELS).exp().cumsum(0)  # outputs × channels: every other is channel 1's
    found = (drawn[:, 1].flatten() <= LEVELS.flatten()[:, None] + 1e-9).double().mean(1)
    assert (below - found).abs().max() < 1.95 / n**0.5  # Kolmogorov's distance: less in 999 of 1,000 cases


@pytest.mark.parametrize("levels", [2, 3])
def test_images_drawn_in_order_have_probabilities_that_sum_to_one(levels):
    shape = (2, 1, 2)
    decoder = PixelCNNDecoder(0, Categorical(levels), shape, [4], layers=2, width=6).double()
    every = torch.cartesian_prod(*[torch.arange(levels)] * 4).view(-1, *shape).double() / (levels - 1)
    images = decoder(torch.zeros(len(every), 0, dtype=torch.float64))
    assert images.log_prob(every).logsumexp(0).item() == pytest.approx(0, abs=1e-9)
    assert set((images.sample() * (levels - 1)).unique().tolist()) == set(range(levels))


@pytest.mark.parametrize("likelihood", [Categorical(levels=4), LogisticMixture(components=2)])
@pytest.mark.parametrize("kind", DECODERS)
def test_every_decoder_gives_colour_pixels_with_levels(kind, likelihood):
    shape = (3, 6, 4)
    decoder, z = DECODERS[kind](likelihood, shape), torch.randn(2, 5, 3)
    decoder.start_at(torch.rand(shape))
    images = decoder(z)
    drawn = images.sample()
    assert drawn.shape == (2, 5, *shape)
    torch.testing.assert_close((drawn * (likelihood.levels - 1)).round() / (likelihood.levels - 1), drawn)
    found = images.log_prob(drawn[0])
    assert found.shape == (2, 5)
    assert (found < 0).all()
    found.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in decoder.parameters())


def vae(likelihood):
    return VAE(MLPEncoder(2, [8], SHAPE), MLPDecoder(2, [8], likelihood, SHAPE), StandardNormal(2))


@pytest.mark.parametrize("likelihood", [Categorical(), LogisticMixture()])
def test_levels_are_taken_in_every_precision_and_what_lies_between_them_is_refused(likelihood):
    model = vae(likelihood)
    levels = torch.randint(256, (3, *SHAPE), dtype=torch.uint8)
    for images in (levels, levels.double() / 255, levels.float() / 255 + 2e-4, (levels / 255).bfloat16()):
        torch.testing.assert_close((model.admit(images) * 255).round(), levels.float())
        assert model.log_prob(images, k=1).isfinite().all()
    with pytest.raises(
        ImageError, match=r"are between two levels, .* the 256 levels k/255; use \(x \* 255\)\.round\(\)"
    ):
        model.log_prob(torch.full((1, *SHAPE), 0.5), k=1)


@pytest.mark.parametrize("likelihood", [Categorical(), LogisticMixture(scale=0.002)])
def test_half_precision_still_knows_each_level(likelihood):
    grid = (torch.arange(256) / 255).view(-1, 1, 1, 1)
    pixels = likelihood(torch.randn(likelihood.outputs, 1, 1))
    for dtype in (torch.bfloat16, torch.float16):
        torch.testing.assert_close(pixels.log_prob(grid.to(dtype)), pixels.log_prob(grid))


def test_other_levels_are_refused():
    model = vae(Categorical(levels=4))
    model.admit(torch.randint(4, (2, *SHAPE)) / 3)
    with pytest.raises(ImageError, match="the 4 levels k/3"):
        model.admit(torch.randint(256, (2, *SHAPE), dtype=torch.uint8))


def test_bits_are_of_levels_alone():
    assert bits_per_dimension(784 * 8 * math.log(2), vae(Categorical())) == pytest.approx(8)
    assert bits_per_dimension(1.0, vae(Gaussian())) is None
    assert bits_per_dimension(1.0, vae(Bernoulli())) is None


def test_more_outputs_of_a_pixel_leave_fewer_images_at_once():
    assert vae(Categorical()).at_once == vae(Bernoulli()).at_once // 256


def test_a_component_starts_above_its_smallest_scale():
    with pytest.raises(ValueError, match=r"must be above 0\.0005"):
        LogisticMixture(scale=0.0004)
