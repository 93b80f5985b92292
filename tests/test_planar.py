"""A planar layer is invertible for all parameters and its determinant is the Jacobian's."""

import pytest
import torch

from vae_lab.distributions.planar import NEUTRAL, PlanarTransform
from vae_lab.priors import PlanarFlow


def layers(n: int, latent: int, spread: float, dtype=torch.float64) -> list[PlanarTransform]:
    return [
        PlanarTransform(
            spread * torch.randn(latent, dtype=dtype), torch.randn(latent, dtype=dtype), torch.randn((), dtype=dtype)
        )
        for _ in range(n)
    ]


def near_the_constraint(dtype=torch.float64) -> PlanarTransform:
    """w·û = −1 + 4.5e-5: the map is all but flat where w·z + b = 0."""
    w = torch.tensor([1.0, 2.0], dtype=dtype)
    return PlanarTransform(-2 * w, w, torch.tensor(0.3, dtype=dtype))


@pytest.mark.parametrize("latent", [1, 2, 20, 64])
@pytest.mark.parametrize("spread", [0.1, 1, 10])
def test_every_layer_is_invertible(latent, spread):
    for layer in layers(50, latent, spread):
        assert layer.u @ layer.w > -1 - 1e-12
        assert layer.slack > 0


@pytest.mark.parametrize("latent", [1, 2, 20])
@pytest.mark.parametrize("shape", [(), (7,), (3, 5)])
def test_inverse_of_forward_is_the_identity(latent, shape):
    for layer in [*layers(20, latent, 2.0), *([near_the_constraint()] if latent == 2 else [])]:
        noise = 3 * torch.randn(*shape, latent, dtype=torch.float64)
        z = layer(noise)
        assert z.shape == noise.shape
        torch.testing.assert_close(layer.inv(z), noise, rtol=0, atol=1e-8)
        z = 3 * torch.randn(*shape, latent, dtype=torch.float64)
        torch.testing.assert_close(layer.inv(layer(layer.inv(z))), layer.inv(z), rtol=0, atol=1e-8)


@pytest.mark.parametrize("latent", [2, 32])
def test_samples_are_exact_to_1e_6_in_float32(latent):
    for layer in layers(20, latent, 1.0, torch.float32):
        noise = torch.randn(100, latent)
        error = (layer.inv(layer(noise)) - noise).abs() / (1 + noise.abs())
        assert error.max() < 1e-5
        # the root itself, against float64
        exact = PlanarTransform(layer.u.double(), layer.w.double(), layer.b.double())
        exact.u, exact.product = layer.u.double(), layer.product.double()
        target = noise @ layer.w + layer.b
        found, root = layer._root(target).double(), exact._root(target.double())
        slope = 1 + exact.product / root.cosh().square()
        # an error of the equation is an error of the root divided by the slope there
        assert ((found - root).abs() * slope / (1 + root.abs())).max() < 1e-6


@pytest.mark.parametrize("latent", [1, 2, 10])
def test_log_det_is_slogdet_of_the_jacobian(latent):
    for layer in [*layers(10, latent, 2.0), *([near_the_constraint()] if latent == 2 else [])]:
        for z in torch.randn(5, latent, dtype=torch.float64):
            jacobian = torch.autograd.functional.jacobian(layer.inv, z)
            expected = torch.linalg.slogdet(jacobian)
            assert expected.sign == 1
            found = layer.inv.log_abs_det_jacobian(z, layer.inv(z))
            torch.testing.assert_close(found, expected.logabsdet, rtol=0, atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_flow_of_random_and_extreme_layers_integrates_to_one(seed):
    torch.manual_seed(seed)
    prior = PlanarFlow(2, layers=4).double()
    prior.u.data = 1.5 * torch.randn(4, 2, dtype=torch.float64)
    prior.u.data[0] = -3 * prior.w.data[0]  # near the constraint
    line = torch.linspace(-14, 14, 2001, dtype=torch.float64)
    plane = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    with torch.no_grad():
        density = prior().log_prob(plane).exp()
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=1e-3)


def test_gradients_of_samples_are_those_of_the_implicit_function():
    u, w = torch.randn(2, 3, dtype=torch.float64).unbind()
    inputs = [t.requires_grad_() for t in (u, w, torch.randn((), dtype=torch.float64))]
    noise = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda e, u, w, b: PlanarTransform(u, w, b)(e), (noise, *inputs))


def test_extreme_codes_have_finite_densities_and_gradients():
    prior = PlanarFlow(2, layers=3)
    z = torch.tensor([[0.0, 0.0], [200.0, -200.0], [1e4, 1e4]], requires_grad=True)
    prior().log_prob(z).sum().backward()
    assert z.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in prior.parameters())


@pytest.mark.parametrize("shift", [0.0, NEUTRAL])
def test_a_layer_of_each_image_is_that_image_s_layer(shift):
    u, w = torch.randn(2, 5, 3, dtype=torch.float64).unbind()
    b, noise = torch.randn(5, dtype=torch.float64), torch.randn(4, 5, 3, dtype=torch.float64)
    together = PlanarTransform(u, w, b, shift)
    z = together(noise)
    assert (together.u * w).sum(-1).min() > -1
    for image in range(5):
        alone = PlanarTransform(u[image], w[image], b[image], shift)
        torch.testing.assert_close(z[:, image], alone(noise[:, image]))
        found = together.log_abs_det_jacobian(noise, z)[:, image]
        torch.testing.assert_close(found, alone.log_abs_det_jacobian(noise[:, image], z[:, image]))


def test_a_neutral_layer_without_direction_is_the_identity():
    w, z = torch.randn(2, 4, 3, dtype=torch.float64).unbind()
    layer = PlanarTransform(torch.zeros_like(w), w, torch.randn(4, dtype=torch.float64), NEUTRAL)
    torch.testing.assert_close(layer.inv(z), z)
    torch.testing.assert_close(layer.log_abs_det_jacobian(z, z), torch.zeros(4, dtype=torch.float64))
