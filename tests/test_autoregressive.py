"""Decoders that see the image: what each output sees, probabilities that add up to 1, and samples that follow them."""

import math
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import chi2
from torch import nn

from helpers import assert_nothing_is_cut_off
from vae_lab.decoders import Decoder, MLPDecoder, PixelCNNDecoder, TransformerDecoder
from vae_lab.decoders.autoregressive import AutoregressiveDecoder
from vae_lab.distributions.autoregressive import AutoregressiveImage, draw_in_order
from vae_lab.distributions.summaries import has_mean
from vae_lab.encoders import MLPEncoder
from vae_lab.errors import ImageError, NotOffered
from vae_lab.likelihoods import Bernoulli, Gaussian, Likelihood
from vae_lab.models import VAE, Autoregressive
from vae_lab.priors import StandardNormal
from vae_lab.training.callbacks import Completions


def pixelcnn(latent_dim: int, likelihood: Likelihood, shape, **sizes) -> Decoder:
    return PixelCNNDecoder(latent_dim, likelihood, shape, [8], **({"layers": 3, "width": 6} | sizes))


def transformer(latent_dim: int, likelihood: Likelihood, shape, **sizes) -> Decoder:
    return TransformerDecoder(
        latent_dim, likelihood, shape, **({"patch": 1, "layers": 2, "width": 8, "heads": 2} | sizes)
    )


def masked(latent_dim: int, likelihood: Likelihood, shape) -> Decoder:
    return MLPDecoder(latent_dim, [8], likelihood, shape, masked_kernel=5, feature_maps=3, masked_width=6)


PIXELS = {
    "pixelcnn": pixelcnn,
    "pixelcnn, bias": lambda *parts: pixelcnn(*parts, condition="bias", layers=2, first_kernel=3, width=5),
    "pixelcnn, one layer": lambda *parts: pixelcnn(*parts, layers=1, first_kernel=5),
    "transformer": transformer,
    "transformer, deep": lambda *parts: transformer(*parts, layers=3, width=6, heads=1),
    "masked": masked,
}
PATTERNS = {
    "patches of 2": lambda *parts: transformer(*parts, patch=2),
    "patches of 3": lambda *parts: transformer(*parts, patch=3),
}


def with_noise(decoder: Decoder) -> Decoder:
    """The decoder in double precision with random weights everywhere, also where training begins at zero."""
    for parameter in filter(lambda found: found.requires_grad, decoder.parameters()):
        nn.init.normal_(parameter, std=0.7 / max(1, parameter.shape[-1]) ** 0.5)
    return decoder.double()


def all_images(height: int, width: int) -> torch.Tensor:
    """Every binary image of one channel."""
    numbers = torch.arange(2 ** (height * width))
    return (numbers[:, None] >> torch.arange(height * width) & 1).double().view(-1, 1, height, width)


def influence(decoder: AutoregressiveDecoder, shape) -> torch.Tensor:
    """|∂ output_i / ∂ x_j| summed over the outputs of a value, both in raster order (row, column, channel)."""
    x, z = torch.rand(1, *shape, dtype=torch.float64), torch.randn(1, decoder.latent_dim, dtype=torch.float64)
    found = torch.autograd.functional.jacobian(lambda image: decoder.outputs(image, z)[0], x)[:, :, :, 0]
    found = found.unflatten(0, (-1, shape[0])).abs().sum(0)
    return found.permute(1, 2, 0, 4, 5, 3).reshape(math.prod(shape), -1)


def reach_of(decoder: Decoder, shape) -> torch.Tensor:
    """1 where an earlier value lies in the window that an output sees: all of them for a transformer."""
    channels, height, width = shape
    reach = max(shape)
    if isinstance(decoder, PixelCNNDecoder):
        reach = sum(layer.reach for layer in decoder.layers)
    elif isinstance(decoder, MLPDecoder):
        reach = decoder.head.reach
    row, column = (grid.flatten() for grid in torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij"))
    near = ((row[:, None] - row).abs() <= reach) & ((column[:, None] - column).abs() <= reach)
    return near.repeat_interleave(channels, 0).repeat_interleave(channels, 1).double().tril(-1)


@pytest.mark.parametrize("name", PIXELS)
@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 4, 5)])
@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learned="per_pixel")])
def test_an_output_sees_every_earlier_value_in_reach_and_no_other(name, shape, likelihood):
    decoder = with_noise(PIXELS[name](2, likelihood, shape))
    found = influence(decoder, shape)
    assert (found.triu() == 0).all()
    assert (found[reach_of(decoder, shape).bool()] > 0).all()


@pytest.mark.parametrize("name", PATTERNS)
def test_the_logits_of_a_patch_see_earlier_patches_and_no_other(name):
    decoder = with_noise(PATTERNS[name](2, Bernoulli(), (1, 6, 6)))
    x, z = torch.rand(1, 1, 6, 6, dtype=torch.float64), torch.randn(1, 2, dtype=torch.float64)
    weights = torch.randn(decoder.head.out_features, dtype=torch.float64)  # one number of all logits of a patch
    found = torch.autograd.functional.jacobian(lambda image: decoder.outputs(image, z)[0] @ weights, x)
    of_patches = decoder.patches.cut(found[:, 0]).abs().sum(-1)
    assert (of_patches.triu() == 0).all()
    assert (of_patches[torch.ones_like(of_patches).tril(-1).bool()] > 0).all()


@pytest.mark.parametrize("latent_dim", [0, 2])
@pytest.mark.parametrize("name", [*PIXELS, *PATTERNS])
def test_the_probabilities_of_all_binary_images_add_up_to_one(name, latent_dim):
    if name == "masked" and not latent_dim:
        pytest.skip("has codes")
    side = 4 if name == "patches of 2" else 3
    images = all_images(side if side == 3 else 2, side)  # 512 or 256 images
    decoder = with_noise({**PIXELS, **PATTERNS}[name](latent_dim, Bernoulli(), tuple(images.shape[1:])))
    found = decoder(torch.randn(latent_dim, dtype=torch.float64)).log_prob(images)
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert found.exp().std() > 1e-4


SMALL = {
    "pixelcnn": lambda *parts: pixelcnn(*parts, layers=2, width=4),
    "transformer": lambda *parts: transformer(*parts, layers=1, width=4, heads=2),
    "masked": masked,
    "patches of 2": lambda *parts: transformer(*parts, patch=2, layers=1, width=4, heads=2),
}


@pytest.mark.parametrize("name", SMALL)
def test_samples_follow_the_probabilities(name):
    """χ² of 100,000 samples over all images; a false alarm in one of 10,000 of such tests."""
    images, n = all_images(2, 4) if name == "patches of 2" else all_images(3, 3), 100_000
    decoder = with_noise(SMALL[name](2, Bernoulli(), tuple(images.shape[1:]))).float()
    given = decoder(torch.randn(2))
    expected = n * given.log_prob(images.float()).double().exp()
    bits = given.sample((n,)).flatten(1).long()
    counts = (bits << torch.arange(bits.shape[1])).sum(1).bincount(minlength=len(images)).double()
    rare = expected < 5  # counted together, with one more so that there is always one
    rare[expected.argmin()] = True
    observed, expected = (torch.cat((part[~rare], part[rare].sum()[None])) for part in (counts, expected))
    statistic = ((observed - expected).square() / expected).sum().item()
    assert len(observed) > 50
    assert statistic < chi2.isf(1e-4, len(observed) - 1)


@pytest.mark.parametrize("name", PIXELS)
@pytest.mark.parametrize(("shape", "rows"), [((1, 6, 4), 0), ((3, 3, 5), 1), ((1, 5, 7), 3)])
def test_kept_layers_give_the_samples_of_the_whole_network(name, shape, rows):
    decoder = with_noise(PIXELS[name](2, Gaussian(), shape))
    x, z = torch.rand(4, *shape, dtype=torch.float64), torch.randn(4, 2, dtype=torch.float64)
    torch.manual_seed(1)
    kept = decoder.draw_rest(x, z, rows)
    torch.manual_seed(1)
    whole = draw_in_order(x, rows, AutoregressiveDecoder.columns(decoder, z), decoder.likelihood)
    torch.testing.assert_close(kept, whole, rtol=0, atol=1e-12)
    assert (kept[:, :, :rows] == x[:, :, :rows]).all()


@pytest.mark.parametrize("name", PATTERNS)
def test_kept_keys_and_values_give_the_logits_of_the_whole_network(name):
    decoder, logits = with_noise(PATTERNS[name](2, Bernoulli(), (1, 6, 6))), []
    hook = decoder.head.register_forward_hook(lambda _, __, output: logits.append(output))
    z = torch.randn(4, 2, dtype=torch.float64)
    x = decoder(z).sample()
    hook.remove()
    torch.testing.assert_close(torch.stack(logits, 1), decoder.outputs(x, z), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", [*PIXELS, *PATTERNS])
def test_codes_of_every_shape_are_taken_and_each_draw_is_one_pass(name):
    shape = (1 if name in PATTERNS else 2, 6, 6)
    decoder = with_noise({**PIXELS, **PATTERNS}[name](3, Bernoulli(), shape))
    z, x = torch.randn(4, 5, 3, dtype=torch.float64), torch.rand(5, *shape, dtype=torch.float64).round()
    given = decoder(z)
    assert isinstance(given, AutoregressiveImage)
    assert (given.batch_shape, given.event_shape) == ((4, 5), shape)
    assert not has_mean(given)
    found = given.log_prob(x)
    alone = torch.stack([decoder(z[k, i]).log_prob(x[i]) for k in range(4) for i in range(5)]).view(4, 5)
    torch.testing.assert_close(found, alone)
    # whether images are named once for all codes or for each code
    torch.testing.assert_close(given.log_prob(x.expand(4, 5, *shape)), alone)
    torch.testing.assert_close(given.log_prob(x[3])[:, 3], alone[:, 3])
    assert decoder(z[:, :0]).log_prob(x[:0]).shape == (4, 0)
    assert decoder(z[:0]).log_prob(x).shape == (0, 5)
    assert given.sample((2,)).shape == (2, 4, 5, *shape)
    with pytest.raises(ValueError, match=r"images are \(5, 6\), expected"):
        given.log_prob(x[:, 0, 0])


def test_features_of_each_pixel_leave_fewer_images_at_once():
    wide, shape = {"hidden_dims": [8], "likelihood": Bernoulli(), "image_shape": (1, 28, 28)}, (1, 28, 28)
    plain, seen = MLPDecoder(2, **wide), MLPDecoder(2, **wide, masked_kernel=3, masked_width=16)
    models = [VAE(MLPEncoder(2, [8], shape), decoder, StandardNormal(2)) for decoder in (plain, seen)]
    assert [model.at_once for model in models] == [2000, 2000 // 16]
    assert pixelcnn(2, Bernoulli(), shape, width=5).values_of_image == 5 * 784
    assert transformer(2, Bernoulli(), shape, patch=2, width=20).values_of_image == 20 * 196
    assert transformer(2, Bernoulli(), shape, patch=2, width=8).values_of_image == 16 * 196  # logits of patterns


@pytest.mark.parametrize("name", [*PIXELS, *PATTERNS])
def test_every_parameter_learns(name):
    channels = 1 if name in PATTERNS else 2
    decoder = with_noise({**PIXELS, **PATTERNS}[name](3, Bernoulli(), (channels, 6, 6)))
    x = torch.rand(5, channels, 6, 6, dtype=torch.float64).round()
    decoder(torch.randn(5, 3, dtype=torch.float64)).log_prob(x).sum().backward()
    for parameter_name, parameter in decoder.named_parameters():
        # the scale of a fixed likelihood does not learn
        assert parameter.grad is not None or not parameter.requires_grad, parameter_name
        assert parameter.grad is None or (parameter.grad != 0).any(), parameter_name


@pytest.mark.parametrize("name", ["pixelcnn", "transformer", "patches of 2"])
def test_the_output_bias_starts_at_the_mean(name):
    decoder = {**PIXELS, **PATTERNS}[name](2, Bernoulli(), (1, 6, 6))
    decoder.start_at(torch.full((1, 6, 6), 0.2))
    (decoder.head.last if hasattr(decoder.head, "last") else decoder.head).weight.data.zero_()
    found = decoder(torch.zeros(2)).log_prob(torch.ones(1, 6, 6))
    torch.testing.assert_close(found, torch.tensor(36 * math.log(0.2)))


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 6, 4)])
@pytest.mark.parametrize("make", [pixelcnn, transformer])
def test_a_model_without_codes_gives_the_exact_likelihood(make, shape):
    model = Autoregressive(make(0, Bernoulli(), shape))
    x = model.sample(4)
    found = model.bounds(x, 7)
    torch.testing.assert_close(found.nll, found.nelbo)
    torch.testing.assert_close(model.log_prob(x), -found.nelbo)
    assert (found.kl == 0).all()
    assert model.measure(x)["kl"].shape == (4,)
    assert model.images_are == "draws"
    done = model.complete(x, 2)
    assert (done[:, :, :2] == x[:, :, :2]).all()
    for ask in (model.encode, model.reconstruct):
        with pytest.raises(NotOffered, match="does not have codes"):
            ask(x)


def small_vae(decoder: Decoder) -> VAE:
    shape = decoder.image_shape
    return VAE(MLPEncoder(2, [8], shape), decoder, StandardNormal(2))


@pytest.mark.parametrize("make", [pixelcnn, transformer, masked])
def test_a_vae_completes_images_and_says_that_they_are_draws(make):
    model, x = small_vae(make(2, Bernoulli(), (1, 5, 4))), torch.rand(3, 1, 5, 4).round()
    assert model.images_are == "draws"
    done = model.complete(x, 3)
    assert (done[:, :, :3] == x[:, :, :3]).all()
    assert ((done == 0) | (done == 1)).all()
    assert not torch.equal(done, model.complete(x, 3))


def test_other_decoders_complete_nothing():
    model = small_vae(MLPDecoder(2, [8], Bernoulli(), (1, 4, 4)))
    assert model.images_are == "means"
    with pytest.raises(NotOffered, match="drawn in order"):
        model.complete(torch.zeros(2, 1, 4, 4), 2)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: pixelcnn(2, Bernoulli(), (1, 4, 4), kernel=4), "kernel=4 must be an odd number from 3"),
        (lambda: pixelcnn(2, Bernoulli(), (1, 4, 4), condition="bias", feature_maps=3), "has no effect"),
        (lambda: transformer(2, Bernoulli(), (1, 28, 28), patch=3), r"use 1 or 2"),
        (lambda: transformer(2, Bernoulli(), (1, 28, 28), patch=4), r"2\^16 patterns"),
        (lambda: transformer(2, Gaussian(), (1, 28, 28), patch=2), "takes likelihood=bernoulli"),
        (lambda: transformer(2, Bernoulli(), (1, 4, 4), heads=3), "width=8 must be a multiple of heads=3"),
        (lambda: Autoregressive(pixelcnn(2, Bernoulli(), (1, 4, 4))), "does not work without codes"),
        (lambda: small_vae(pixelcnn(0, Bernoulli(), (1, 4, 4))), "the decoder expects latent_dim=0"),
        (
            lambda: transformer(2, Bernoulli(), (1, 6, 6), patch=2)(torch.zeros(2)).sample_given(
                torch.zeros(1, 6, 6), 3
            ),
            "multiple of 2",
        ),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(make, reason):
    with pytest.raises(ValueError, match=reason) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("patch", "rows"), [(1, 4), (3, 3)])
def test_the_figure_of_completions_keeps_whole_patches(patch, rows, monkeypatch):
    asked = []
    monkeypatch.setattr(Autoregressive, "complete", lambda _, x, rows: asked.append(rows) or x)
    model = Autoregressive(transformer(0, Bernoulli(), (1, 9, 9), patch=patch))
    data = SimpleNamespace(test_images=torch.rand(6, 1, 9, 9).round())
    figure = Completions(n=4, draws=2).draw(model, data)
    assert asked == [rows]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["original", "kept", "draw 1", "draw 2"]
    assert_nothing_is_cut_off(figure)


def test_patches_take_bits_only():
    model = Autoregressive(transformer(0, Bernoulli(), (1, 6, 6), patch=2))
    with pytest.raises(ImageError, match="0 or 1"):
        model.log_prob(torch.rand(2, 1, 6, 6))
    model.log_prob(torch.full((2, 1, 6, 6), 255, dtype=torch.uint8))
    model.start_at(torch.rand(1, 6, 6))
