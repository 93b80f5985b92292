"""Decoders whose last layer sees the pixels before each: what it sees, and that its draws follow its probabilities."""

import itertools

import pytest
import torch
from scipy.stats import chi2
from torch.autograd.functional import jacobian

from vae_lab.decoders import ConvDecoder, MLPDecoder
from vae_lab.likelihoods import Bernoulli, Gaussian

KINDS = {"mlp": MLPDecoder, "conv": ConvDecoder}


def decoder(kind="mlp", shape=(1, 3, 3), likelihood=None, **masked):
    masked = {"masked_kernel": 3, "feature_maps": 3, "masked_width": 6, "masked_layers": 1} | masked
    made = KINDS[kind](2, [6], likelihood or Bernoulli(), shape, **masked)
    for parameter in made.parameters():
        parameter.data.normal_(std=0.7)
    return made


def in_raster_order(values):
    """Values of images (…, channels, height, width) by row, then by column, then by channel, (…, n)."""
    return values.movedim(-3, -1).flatten(-3)


def seen(shape, kernel):
    """Whether value i may see value j, (n, n): j is earlier, and inside the window of i."""
    channels, height, width = shape
    places = list(itertools.product(range(height), range(width), range(channels)))
    reach = kernel // 2
    return torch.tensor(
        [
            [b < a and a[0] - b[0] <= reach and abs(a[1] - b[1]) <= reach for b in places]
            for a in places
        ]
    )  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("shape", "kernel", "width", "layers"),
    [((1, 4, 5), 3, 4, 0), ((1, 6, 4), 5, 3, 2), ((3, 4, 3), 3, 7, 1), ((2, 3, 4), 5, 2, 2), ((1, 3, 3), 7, 4, 1)],
)
@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learned="per_pixel")])
def test_an_output_sees_each_earlier_value_of_its_window_and_no_other(kind, shape, kernel, width, layers, likelihood):
    torch.manual_seed(0)
    made = decoder(kind, shape, likelihood, masked_kernel=kernel, masked_width=width, masked_layers=layers).double()
    x, z = torch.rand(1, *shape, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    for part in range(likelihood.outputs):
        of_part = slice(part * shape[0], (part + 1) * shape[0])
        found = jacobian(lambda values: made.outputs(values, z)[0, of_part], x)[:, :, :, 0]  # noqa: B023
        of_inputs = in_raster_order(found)  # (channels, height, width, n)
        found = in_raster_order(of_inputs.movedim(-1, 0)).T
        assert torch.equal(found != 0, seen(shape, kernel)), part


@pytest.mark.parametrize("kind", KINDS)
def test_the_probabilities_of_all_images_sum_to_one(kind):
    torch.manual_seed(1)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).view(-1, 1, 1, 3, 3)
    log_p = decoder(kind)(torch.randn(4, 2)).log_prob(every)
    assert log_p.shape == (512, 4)
    torch.testing.assert_close(log_p.exp().sum(0), torch.ones(4), rtol=0, atol=1e-5)


def test_draws_follow_the_probabilities():
    """χ² over the 512 images: false alarm once in 10⁴ seeds."""
    torch.manual_seed(2)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=9))).view(-1, 1, 3, 3)
    images = decoder()(torch.tensor([0.3, -0.8]))
    expected, n = images.log_prob(every).exp().double(), 100_000
    drawn = images.sample((n,)).view(n, 9)
    counts = torch.bincount((drawn @ 2.0 ** torch.arange(8, -1, -1)).long(), minlength=512).double()
    common = expected * n >= 5
    counts, expected = (torch.cat((of[common], of[~common].sum(0, keepdim=True))) for of in (counts, expected * n))
    statistic = ((counts - expected).square() / expected.clamp(min=1e-9)).sum().item()
    assert statistic < chi2.ppf(1 - 1e-4, len(expected) - 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("shape", "kernel"), [((1, 5, 4), 7), ((3, 4, 6), 3)])
def test_one_pixel_alone_has_the_outputs_of_the_whole_pass(kind, shape, kernel):
    torch.manual_seed(3)
    made, x, z = decoder(kind, shape, masked_kernel=kernel), torch.rand(5, *shape), torch.randn(5, 2)
    whole, column = made.outputs(x, z), made.columns(z)
    for row, place in itertools.product(range(shape[1]), range(shape[2])):
        torch.testing.assert_close(column(x, row, place), whole[:, :, row, place])


def test_images_are_drawn_without_a_mean_and_parts_of_them_can_be_kept():
    torch.manual_seed(4)
    images = decoder(shape=(2, 4, 3))(torch.randn(5, 2))
    with pytest.raises(NotImplementedError):
        images.mean  # noqa: B018
    assert images.sample((7,)).shape == (7, 5, 2, 4, 3)
    known = torch.randint(2, (5, 2, 4, 3)).float()
    kept = images.sample_given(known, 2)
    assert torch.equal(kept[:, :, :2], known[:, :, :2])
    assert not torch.equal(kept, known)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns_and_log_prob_takes_many_draws(kind):
    made = decoder(kind, (1, 6, 6), Gaussian(learned=True))
    log_p = made(torch.randn(4, 5, 2)).log_prob(torch.rand(5, 1, 6, 6))
    assert log_p.shape == (4, 5)
    log_p.sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learned="per_pixel")])
def test_it_starts_at_the_mean_of_each_channel(kind, likelihood):
    made, mean = decoder(kind, (3, 4, 4), likelihood), 0.1 + 0.8 * torch.rand(3, 4, 4)
    made.head.last.weight.data.zero_()
    made.head.direct.weight.data.zero_()  # what is left is what the bias says
    made.start_at(mean)
    found = made.conditionals(torch.rand(2, 3, 4, 4), torch.randn(2, 2)).mean
    torch.testing.assert_close(found, mean.mean((1, 2), keepdim=True).expand(2, 3, 4, 4))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("masked", "line"),
    [
        ({"masked_kernel": 4}, "masked_kernel=4 has no middle; use 5"),
        ({"masked_kernel": 1}, "masked_kernel=1 sees no other pixel; use 3"),
        ({"feature_maps": 8}, "feature_maps=8 has no effect without masked_kernel"),
        ({"masked_width": 8}, "masked_width=8 has no effect without masked_kernel"),
        ({"masked_layers": 0}, "masked_layers=0 has no effect without masked_kernel"),
        ({"masked_kernel": 3, "masked_width": 2}, "masked_width=2 must be at least 3, one unit for each channel"),
    ],
)
def test_what_cannot_take_effect_is_refused(kind, masked, line):
    with pytest.raises(ValueError, match=line):
        KINDS[kind](2, [6], Bernoulli(), (3, 8, 8), **masked)


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_window_the_network_is_the_plain_one(kind):
    made = KINDS[kind](2, [6], Bernoulli(), (1, 8, 8))
    assert made.head is None
    assert all(name.startswith("net.") for name in made.state_dict())
    assert made(torch.randn(3, 2)).mean.shape == (3, 1, 8, 8)
