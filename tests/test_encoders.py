"""Encoders give a posterior of the right shape for every size."""

import pytest
import torch
from torch import nn

from helpers import SHAPE
from vae_lab.encoders import ConvEncoder, MLPEncoder, NoEncoder, ResNetEncoder
from vae_lab.posteriors import DiagonalNormal

ENCODERS = {
    "mlp": lambda latent_dim: MLPEncoder(latent_dim, [24, 12], SHAPE),
    "conv": lambda latent_dim: ConvEncoder(latent_dim, [4, 6], SHAPE),
    "resnet": lambda latent_dim: ResNetEncoder(latent_dim, [4, 6], SHAPE),
    "resnet without norm": lambda latent_dim: ResNetEncoder(latent_dim, [4], SHAPE, blocks=2, norm="none"),
    "mlp with layer norm": lambda latent_dim: MLPEncoder(latent_dim, [24], SHAPE, activation="tanh", layer_norm=True),
}


@pytest.mark.parametrize("name", ENCODERS)
@pytest.mark.parametrize("latent_dim", [1, 2, 20])
@pytest.mark.parametrize("batch", [1, 7])
def test_posterior_is_a_distribution_over_codes(name, latent_dim, batch):
    posterior = ENCODERS[name](latent_dim)(torch.rand(batch, 1, 28, 28))
    assert posterior.batch_shape == (batch,)
    assert posterior.event_shape == (latent_dim,)
    z = posterior.rsample((3,))
    assert z.shape == (3, batch, latent_dim)
    assert posterior.log_prob(z).shape == (3, batch)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_parameter_learns(name):
    encoder = ENCODERS[name](3)
    posterior = encoder(torch.rand(5, 1, 28, 28))
    (posterior.rsample().square().sum() + posterior.entropy().sum()).backward()
    for parameter_name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert (parameter.grad != 0).any(), parameter_name


@pytest.mark.parametrize("dims", [[5], [9, 8, 7, 6]])
def test_hidden_dims_are_the_layers_and_stay_the_callers(dims):
    given = list(dims)
    linears = [layer for layer in MLPEncoder(2, given, SHAPE).net if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in linears] == [*dims, 4]
    assert given == dims


@pytest.mark.parametrize("kind", [MLPEncoder, ConvEncoder, ResNetEncoder])
def test_a_posterior_of_another_length_is_refused(kind):
    with pytest.raises(ValueError, match="its codes have length 2, those of its posterior 3"):
        kind(2, [4], SHAPE, posterior=DiagonalNormal(3))


@pytest.mark.parametrize("shape", [(3, 20, 31), (1, 8, 8), (2, 48, 40)])
@pytest.mark.parametrize("kind", [MLPEncoder, ConvEncoder, ResNetEncoder])
def test_images_of_every_shape_are_taken(kind, shape):
    posterior = kind(5, [4, 6], shape)(torch.rand(3, *shape))
    assert posterior.batch_shape == (3,)
    assert posterior.event_shape == (5,)


def test_no_encoder_gives_every_image_of_every_shape_the_same_posterior():
    encoder = NoEncoder(2)
    for shape in ((1, 28, 28), (3, 5, 7)):
        posterior = encoder(torch.rand(4, *shape))
        torch.testing.assert_close(posterior.mean, torch.zeros(4, 2))
        torch.testing.assert_close(posterior.stddev, torch.ones(4, 2))
    assert not list(encoder.parameters())


def test_residual_blocks_keep_the_sizes_that_convolutions_halve():
    encoder = ResNetEncoder(2, [4, 8, 12], (3, 21, 6), blocks=2)
    shapes = []
    for layer in encoder.net:
        layer.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    encoder(torch.rand(1, 3, 21, 6))
    assert shapes[:9] == [(4, 11, 3)] * 3 + [(8, 6, 2)] * 3 + [(12, 3, 1)] * 3


def test_an_image_is_not_halved_beyond_one_pixel():
    ResNetEncoder(2, [4] * 3, (1, 8, 5))
    with pytest.raises(ValueError, match="4 channels halve 8 × 5 pixels too often; use at most 3"):
        ResNetEncoder(2, [4] * 4, (1, 8, 5))


def test_an_image_is_normalised_by_itself():
    encoder = ResNetEncoder(2, [4, 6], (3, 9, 9)).train()
    images = torch.rand(5, 3, 9, 9)
    torch.testing.assert_close(encoder(images).mean[:1], encoder(images[:1]).mean)
