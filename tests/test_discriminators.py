"""Discriminators: their shapes, their initial weights, and what spectral normalisation bounds."""

import pytest
import torch

from vae_lab.discriminators import ConvDiscriminator, MLPDiscriminator

SHAPE = (3, 12, 10)
KINDS = [
    lambda **options: MLPDiscriminator([20, 16], SHAPE, **options),
    lambda **options: ConvDiscriminator([8, 16], SHAPE, **options),
]


@pytest.mark.parametrize("make", KINDS)
def test_one_number_for_each_image_and_a_gradient_for_each_parameter(make):
    discriminator = make()
    found = discriminator(torch.rand(5, *SHAPE))
    assert found.shape == (5,)
    found.sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in discriminator.parameters())


@pytest.mark.parametrize("make", KINDS)
def test_the_weights_start_small(make):
    weights = [weight.flatten() for weight in make(spectral_norm=False).parameters() if weight.dim() > 1]
    assert torch.cat(weights).std().item() == pytest.approx(0.02, rel=0.1)


@pytest.mark.parametrize("make", KINDS)
def test_the_largest_singular_value_of_each_weight_becomes_one(make):
    discriminator = make()
    with torch.no_grad():
        for _ in range(300):  # steps of the power method
            discriminator(torch.rand(1, *SHAPE))
    discriminator.eval()
    layers = [layer for layer in discriminator.net if hasattr(layer, "weight")]
    assert len(layers) == 3
    for layer in layers:
        largest = torch.linalg.svdvals(layer.weight.detach().double().flatten(1))[0].item()
        assert 1 - 1e-3 <= largest <= 1 + 1e-3


def test_a_normalised_multi_layer_perceptron_is_lipschitz():
    discriminator = KINDS[0]().double()
    with torch.no_grad():
        for _ in range(300):
            discriminator(torch.rand(1, *SHAPE).double())
    x = torch.rand(50, *SHAPE, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(discriminator.eval()(x).sum(), x)
    assert slope.flatten(1).norm(dim=1).max() <= 1 + 1e-3


def test_it_does_not_change_in_evaluation():
    discriminator = KINDS[1]().eval()
    before = {name: value.clone() for name, value in discriminator.state_dict().items()}
    discriminator(torch.rand(2, *SHAPE))
    assert all(torch.equal(value, before[name]) for name, value in discriminator.state_dict().items())


def test_too_many_convolutions_are_refused():
    with pytest.raises(ValueError, match="leave nothing of 10 pixels"):
        ConvDiscriminator([4] * 5, (1, 10, 10))
