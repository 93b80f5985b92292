"""Decoders give a distribution over images for codes of every shape."""

import itertools

import pytest
import torch
from torch import nn

from helpers import SHAPE
from vae_lab.decoders import ConvDecoder, MLPDecoder, ResNetDecoder
from vae_lab.encoders import ConvEncoder, ResNetEncoder
from vae_lab.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, Gaussian, LogisticMixture

LIKELIHOODS = [
    Bernoulli(),
    Gaussian(),
    Gaussian(learned="per_pixel"),
    Categorical(levels=5),
    LogisticMixture(components=2),
    ContinuousBernoulli(),
]
DECODERS = {
    "mlp": lambda latent_dim, likelihood: MLPDecoder(latent_dim, [24, 12], likelihood, SHAPE),
    "conv": lambda latent_dim, likelihood: ConvDecoder(latent_dim, [4, 6], likelihood, SHAPE),
    "conv with batch norm": lambda latent_dim, likelihood: ConvDecoder(
        latent_dim, [4, 6], likelihood, SHAPE, norm="batch"
    ),
    "conv with group norm": lambda latent_dim, likelihood: ConvDecoder(
        latent_dim, [4, 6], likelihood, SHAPE, norm="group"
    ),
    "resnet": lambda latent_dim, likelihood: ResNetDecoder(latent_dim, [4, 6], likelihood, SHAPE),
    "mlp with layer norm": lambda latent_dim, likelihood: MLPDecoder(
        latent_dim, [24], likelihood, SHAPE, layer_norm=True
    ),
}


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("shape", [(4,), (3, 4), (1, 1)])
def test_codes_become_a_distribution_over_images(name, likelihood, shape):
    images = DECODERS[name](5, likelihood)(torch.randn(*shape, 5))
    assert images.batch_shape == shape
    assert images.event_shape == (1, 28, 28)
    assert images.mean.min() >= 0
    assert images.mean.max() <= 1


@pytest.mark.parametrize("name", DECODERS)
def test_every_parameter_learns(name):
    decoder = DECODERS[name](3, Gaussian(learned=True))
    decoder(torch.randn(5, 3)).log_prob(torch.rand(5, 1, 28, 28)).sum().backward()
    for parameter_name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert (parameter.grad != 0).any(), parameter_name


def test_the_mlp_mirrors_the_encoder_and_leaves_the_list_alone():
    dims = [9, 8, 7]
    decoder = MLPDecoder(2, dims, Bernoulli(), SHAPE)
    assert [layer.out_features for layer in decoder.net if isinstance(layer, nn.Linear)] == [7, 8, 9, 784]
    assert dims == [9, 8, 7]


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("likelihood", [*LIKELIHOODS, Gaussian(squash=False)])
def test_starting_at_the_mean_image_brings_the_mean_there(name, likelihood):
    decoder, mean = DECODERS[name](2, likelihood), 0.1 + 0.8 * torch.rand(1, 28, 28)
    decoder.start_at(mean)
    decoder.net[-1].weight.data.zero_()  # what is left is what the bias says
    reached = mean if name.startswith("mlp") else mean.mean()
    torch.testing.assert_close(decoder(torch.randn(3, 2)).mean, reached.expand(3, 1, 28, 28), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [28, 32, 17])
@pytest.mark.parametrize(
    ("channels", "kernel", "stride"), [([4], 4, 2), ([3, 5, 7], 3, 2), ([2, 3], 5, 3), ([6], 3, 1)]
)
def test_transposed_convolutions_give_back_every_size(size, channels, kernel, stride):
    shape = (1, size, size)
    code = ConvEncoder(2, channels, shape, kernel, stride)(torch.rand(3, *shape)).mean
    decoder = ConvDecoder(2, channels, Bernoulli(), shape, kernel, stride)
    assert decoder(code).mean.shape == (3, *shape)
    sizes = [layer.weight.shape[:2] for layer in decoder.net if isinstance(layer, nn.ConvTranspose2d)]
    assert sizes == list(zip(channels[::-1], [*channels[::-1][1:], 1], strict=True))


def test_too_many_convolutions_are_refused():
    with pytest.raises(ValueError, match="leave nothing of 28 pixels"):
        ConvDecoder(2, [4] * 6, Bernoulli(), SHAPE)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_maps_are_normalised_before_each_convolution(norm):
    seen, decoder = [], ConvDecoder(3, [8, 16], Bernoulli(), SHAPE, norm=norm)
    for before, layer in itertools.pairwise(decoder.net):
        if isinstance(layer, nn.ReLU):
            before.register_forward_hook(lambda _, __, maps: seen.append(maps))
    decoder(5 + 9 * torch.randn(64, 3))
    assert [maps.shape[1:] for maps in seen] == [(16, 7, 7), (8, 14, 14)]
    over = (0, 2, 3) if norm == "batch" else (2, 3, 4)
    for maps in seen:
        parts = maps if norm == "batch" else maps.unflatten(1, (-1, 4))
        torch.testing.assert_close(parts.mean(over), torch.zeros_like(parts.mean(over)), rtol=0, atol=1e-4)
        torch.testing.assert_close(parts.std(over), torch.ones_like(parts.std(over)), rtol=0, atol=1e-2)


def test_the_default_sizes_are_the_sheets():
    encoder, decoder = ConvEncoder(32, [32, 64], SHAPE), ConvDecoder(32, [32, 64], Bernoulli(), SHAPE)
    assert encoder.net[-1].in_features == 3136
    assert [tuple(p.shape) for p in decoder.net[-1].parameters()] == [(32, 1, 4, 4), (1,)]
    assert sum(p.numel() for p in decoder.parameters()) == 33 * 3136 + 64 * 32 * 16 + 32 + 32 * 16 + 1


@pytest.mark.parametrize("kind", [MLPDecoder, ConvDecoder])
def test_a_scale_for_each_pixel_is_learned(kind):
    shape = (3, 12, 9)
    decoder = kind(2, [4, 6], Gaussian(scale=0.3, learned="per_pixel"), shape)
    images = decoder(torch.randn(7, 5, 2))
    assert images.mean.shape == images.stddev.shape == (7, 5, *shape)
    assert images.stddev[0, 0].unique().numel() > 10
    images.log_prob(torch.rand(shape)).sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.net.parameters())


@pytest.mark.parametrize("shape", [(3, 20, 31), (1, 8, 8), (2, 48, 40)])
def test_a_residual_decoder_gives_back_the_size_of_every_encoder(shape):
    code = ResNetEncoder(2, [4, 6, 8], shape)(torch.rand(3, *shape)).mean
    assert ResNetDecoder(2, [4, 6, 8], Categorical(levels=3), shape)(code).mean.shape == (3, *shape)
