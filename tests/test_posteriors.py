"""Every posterior is a density that its draws follow and carry, for every image."""

from functools import cache

import pytest
import torch
from torch.distributions import TransformedDistribution

from helpers import SHAPE, digits
from vae_lab.decoders import MLPDecoder
from vae_lab.distributions.summaries import centre, draw_with_density
from vae_lab.encoders import MLPEncoder
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import KL, SGVB, NoClosedFormError
from vae_lab.models import VAE
from vae_lab.models.draws import Latent
from vae_lab.posteriors import IAF, DiagonalNormal, FullNormal, Planar, Spline
from vae_lab.priors import Flow, Mixture, StandardNormal, Vamp

POSTERIORS = {
    "diagonal_normal": DiagonalNormal,
    "full_normal": FullNormal,
    "planar": lambda latent_dim: Planar(latent_dim, layers=3),
    "spline": lambda latent_dim: Spline(latent_dim, context=4, transforms=2, hidden_dims=[16], bins=4),
    "iaf": lambda latent_dim: IAF(latent_dim, context=4, hidden_dims=[16]),
}
FLOWS = ("planar", "spline", "iaf")


def posterior(name: str, latent_dim: int, images: int = 1):
    """q of some images in double precision, whose parameters and numbers are far from their start."""
    head = POSTERIORS[name](latent_dim).double()
    for parameter in head.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return head(0.5 * torch.randn(images, head.inputs, dtype=torch.float64))


def mapped(q, noise: torch.Tensor) -> torch.Tensor:
    """Codes of draws from the base of a flow."""
    if isinstance(q, TransformedDistribution):
        for transform in q.transforms:
            noise = transform(noise)
        return noise
    return q.transform.inv(noise)


def vae(name: str, prior=None, latent_dim: int = 3) -> VAE:
    encoder = MLPEncoder(latent_dim, [16], SHAPE, posterior=POSTERIORS[name](latent_dim))
    return VAE(encoder, MLPDecoder(latent_dim, [16], Bernoulli(), SHAPE), prior or StandardNormal(latent_dim))


@cache
def in_the_plane(name: str):
    """A posterior, a line, and the density on the square over it."""
    torch.manual_seed(1)
    q, line = posterior(name, 2), torch.linspace(-12, 12, 301, dtype=torch.float64)
    plane = torch.cartesian_prod(line, line)[:, None]
    with torch.no_grad():
        return q, line, q.log_prob(plane).exp().view(301, 301)


@pytest.mark.parametrize("name", POSTERIORS)
def test_density_integrates_to_one(name):
    _, line, density = in_the_plane(name)
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", POSTERIORS)
def test_draws_follow_the_density(name):
    (q, line, density), n = in_the_plane(name), 20_000
    with torch.no_grad():
        z = q.rsample((n,))[:, 0]
    for dim in (0, 1):
        cumulative = torch.cumulative_trapezoid(torch.trapezoid(density, line, dim=1 - dim), line)
        share = torch.searchsorted(z[:, dim].sort().values, line[1:], right=True) / n
        # Kolmogorov's distance exceeds 2.2 / √n once in 8,000 times
        assert (share - cumulative).abs().max() < 2.2 / n**0.5


@pytest.mark.parametrize("latent_dim", [1, 2, 6])
@pytest.mark.parametrize("name", POSTERIORS)
def test_the_density_of_a_draw_is_that_of_the_same_code(name, latent_dim):
    q = posterior(name, latent_dim, images=5)
    assert (q.batch_shape, q.event_shape) == ((5,), (latent_dim,))
    z, log_q = draw_with_density(q, (4,))
    assert z.shape == (4, 5, latent_dim)
    assert q.rsample((2, 3)).shape == (2, 3, 5, latent_dim)
    assert (log_q is None) == (name == "diagonal_normal")
    if log_q is not None:
        torch.testing.assert_close(log_q, q.log_prob(z), rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", POSTERIORS)
def test_one_code_has_a_density_for_each_image(name):
    q = posterior(name, 3, images=4)
    z = torch.randn(3, dtype=torch.float64)
    torch.testing.assert_close(q.log_prob(z), q.log_prob(z.expand(4, 3)))


@pytest.mark.parametrize("latent_dim", [1, 4])
@pytest.mark.parametrize("name", FLOWS)
def test_log_det_is_slogdet_of_the_jacobian(name, latent_dim):
    q = posterior(name, latent_dim)
    base = q.base_dist if name == "planar" else q.base
    for noise in base.sample((3,)):
        jacobian = torch.autograd.functional.jacobian(lambda e: mapped(q, e[None])[0], noise[0])
        expected = base.log_prob(noise) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(q.log_prob(mapped(q, noise)), expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("name", ["spline", "iaf"])
def test_a_thousand_draws_take_one_pass_of_each_network(name):
    head, calls = POSTERIORS[name](6), []
    for step in head.steps:
        step.hyper[-1].register_forward_hook(lambda *_: calls.append(1))
    latent = Latent(head(torch.randn(3, head.inputs)), StandardNormal(6)(), (1000,))
    assert latent.log_ratio.shape == (1000, 3)
    assert len(calls) == len(head.steps) == 2


@pytest.mark.parametrize("name", POSTERIORS)
def test_gradients_are_finite_where_the_encoder_goes_far(name):
    head = POSTERIORS[name](4)
    signs = torch.randn(20, head.inputs).sign()
    numbers = torch.cat((30 * signs, torch.zeros(1, head.inputs))).requires_grad_()
    Latent(head(numbers), StandardNormal(4)(), (3,)).log_ratio.sum().backward()
    assert numbers.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


@pytest.mark.parametrize("name", POSTERIORS)
def test_every_number_and_parameter_learns(name):
    head = POSTERIORS[name](3)
    numbers = torch.randn(20, head.inputs, requires_grad=True)
    (z, log_q) = draw_with_density(head(numbers), (2,))
    (z.square().sum() + (head(numbers).log_prob(z) if log_q is None else log_q).sum()).backward()
    assert (numbers.grad != 0).any(0).all()
    for parameter_name, parameter in head.named_parameters():
        assert (parameter.grad != 0).any(), parameter_name


@pytest.mark.parametrize("name", POSTERIORS)
def test_a_vae_has_codes_images_and_bounds(name):
    model, x = vae(name), digits(7)[0]
    assert model.encode(x).shape == (7, 3)
    assert model.reconstruct(x[:5]).shape == (5, *SHAPE)
    assert model.sample(2).shape == (2, *SHAPE)
    bits = (x > 100).float()
    assert model.log_prob(bits, k=3).isfinite().all()
    assert SGVB(samples=2)(model, bits).loss.isfinite()


@pytest.mark.parametrize("name", FLOWS)
def test_the_code_of_a_flow_is_the_image_of_the_bases_mean(name):
    q = posterior(name, 3, images=4)
    mean = (q.base_dist if name == "planar" else q.base).mean
    torch.testing.assert_close(centre(q), mapped(q, mean))


@pytest.mark.parametrize("prior", [lambda: Mixture(3), lambda: Vamp(4), lambda: Flow(3, transforms=1)])
@pytest.mark.parametrize("name", POSTERIORS)
def test_every_prior_works_with_sgvb(name, prior):
    model = vae(name, prior())
    loss = SGVB()
    loss.check(model)
    loss(model, (digits(5)[0] > 100).float()).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)
    assert model.sample(3).shape == (3, *SHAPE)


def test_a_closed_form_is_known_for_the_normals_alone():
    for name in POSTERIORS:
        if name in FLOWS:
            with pytest.raises(NoClosedFormError):
                KL().check(vae(name))
        else:
            KL().check(vae(name))


def test_a_planar_posterior_starts_as_its_base():
    head = Planar(3, layers=4).double()
    numbers = torch.cat((torch.randn(5, 6), torch.zeros(5, 4 * 7)), -1).double()
    numbers[:, 6 + 12 :] = torch.randn(5, 16)
    z = torch.randn(5, 3).double()
    expected = DiagonalNormal(3)(numbers[:, :6]).log_prob(z)
    torch.testing.assert_close(head(numbers).log_prob(z), expected, rtol=0, atol=1e-10)
