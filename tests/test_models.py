"""A VAE as people use it from Python: built from parts, looked at."""

import pytest
import torch
import zuko
from torch import nn
from torch.distributions import AffineTransform, Independent, Normal, TransformedDistribution

from helpers import SHAPE, small_vae
from vae_lab.decoders import ConvDecoder
from vae_lab.distributions.planar import PlanarTransform
from vae_lab.distributions.summaries import centre, draw_with_density
from vae_lab.encoders import ConvEncoder
from vae_lab.errors import NotOffered
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import KL
from vae_lab.models import VAE, Draws, Latent, Model
from vae_lab.priors import StandardNormal


@pytest.fixture
def model():
    return small_vae(latent_dim=3)


def test_shapes(model):
    x = torch.rand(5, 1, 28, 28)
    assert model.encode(x).shape == (5, 3)
    assert model.encode(x[0]).shape == (3,)
    assert model.encode(x.view(5, 1, 1, 28, 28)).shape == (5, 1, 3)
    assert model.decode(torch.randn(2, 4, 3)).shape == (2, 4, 1, 28, 28)
    assert model.reconstruct(x).shape == x.shape
    assert model.sample(7).shape == (7, 1, 28, 28)
    assert model.interpolate(x, x, steps=4).shape == (4, 5, 1, 28, 28)


def test_encode_and_decode_are_the_means_of_the_parts(model):
    x = torch.rand(5, 1, 28, 28)
    torch.testing.assert_close(model.encode(x), model.encoder(x).mean)
    z = torch.randn(5, 3)
    torch.testing.assert_close(model.decode(z), model.decoder(z).mean)
    torch.testing.assert_close(model.reconstruct(x), model.decode(model.encode(x)))


def test_parts_are_tried_with_one_image_and_left_as_they_were():
    channels = [4, 6, 6, 8]  # down to one pixel: batch norm has no variance of one image there
    encoder, norm = ConvEncoder(2, channels, SHAPE), nn.BatchNorm1d(4)
    decoder = ConvDecoder(2, channels, Bernoulli(), SHAPE, norm="batch")
    encoder.net.append(norm.eval())
    VAE(encoder, decoder, StandardNormal(2))
    assert not norm.training
    assert all(part.training for part in decoder.modules())
    assert all(part.num_batches_tracked == 0 for part in decoder.modules() if isinstance(part, nn.BatchNorm2d))


@pytest.mark.parametrize("shape", [(5,), (2, 4), (2, 0)])
def test_codes_of_another_length_are_refused_and_nothing_random_moves(model, shape):
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=r"codes are \(…, 3\), and these are \(" + str(shape[0])):
        model.decode(torch.zeros(shape))
    assert torch.equal(torch.get_rng_state(), before)


def test_interpolation_starts_and_ends_at_the_reconstructions(model):
    x1, x2 = torch.rand(2, 1, 28, 28), torch.rand(2, 1, 28, 28)
    walk = model.interpolate(x1, x2, steps=5)
    torch.testing.assert_close(walk[0], model.reconstruct(x1))
    torch.testing.assert_close(walk[-1], model.reconstruct(x2))
    torch.testing.assert_close(walk[1], model.decode(0.75 * model.encode(x1) + 0.25 * model.encode(x2)))


def test_images_are_encoded_in_parts(model, monkeypatch):
    x = torch.rand(7, 1, 28, 28)
    whole = model.encode(x)
    monkeypatch.setattr(type(model), "at_once", 3)
    torch.testing.assert_close(model.encode(x), whole)


def test_using_a_model_leaves_no_graph(model):
    assert not model.sample(2).requires_grad
    assert not model.encode(torch.rand(2, 1, 28, 28)).requires_grad


def test_integer_images_of_another_precision_are_taken(model):
    x = (torch.rand(2, 1, 28, 28) > 0.5).double()
    torch.testing.assert_close(model.encode(x), model.encode(x.float()))


def test_every_parameter_learns(model):
    KL()(model, torch.rand(8, 1, 28, 28).round()).loss.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("k", [0, -1])
def test_no_draws_are_no_bound(model, k):
    with pytest.raises(ValueError, match="k must be at least 1"):
        model.log_prob(torch.rand(2, 1, 28, 28).round(), k)


def test_what_a_kind_of_model_does_not_have_is_said():
    model = Model((1, 28, 28))
    for ask in (
        lambda: model.infer(torch.zeros(1, 1, 28, 28)),
        lambda: model.sample(2),
        lambda: model.decode(torch.zeros(1, 2)),
        lambda: model.start_at(torch.zeros(1, 28, 28)),
    ):
        with pytest.raises(NotOffered, match="Model does not have"):
            ask()


def test_a_density_is_computed_only_where_it_is_needed(model):
    """loss=kl is as quick as it is because nothing asks for log q and log p."""
    q, p = model.encoder(torch.rand(5, 1, 28, 28)), model.prior()
    asked = []
    for distribution in (q, p):
        real = distribution.log_prob
        distribution.log_prob = lambda z, real=real: asked.append(1) or real(z)
    draws = Draws([Latent(q, p, (1,))], torch.zeros(1, 5))
    draws.terms()
    assert not asked
    assert draws.log_weights.isfinite().all()
    draws.terms(draws.sampled_kls)
    assert len(asked) == 2


def test_the_density_that_a_draw_carries_is_not_computed_again(model):
    class Carrying(torch.distributions.Independent):
        def rsample_and_log_prob(self, shape):
            z = self.rsample(shape)
            return z, torch.full(z.shape[:-1], 7.0)

    q = model.encoder(torch.rand(5, 1, 28, 28))
    draws = Draws([Latent(Carrying(q.base_dist, 1), model.prior(), (3,))], torch.zeros(3, 5))
    torch.testing.assert_close(draws.log_ratio, 7 - model.prior().log_prob(draws.z))


def test_layers_of_latent_variables_add_up(model):
    """Two latent variables, the second one drawn for each draw of the first: densities and KL are sums."""
    q = model.encoder(torch.rand(5, 1, 28, 28))
    top = Latent(q, model.prior(), (4,))
    below = Latent(torch.distributions.Independent(torch.distributions.Normal(top.z, 0.5), 1), model.prior(), ())
    draws = Draws([top, below], torch.randn(4, 5))
    assert draws.z.shape == (4, 5, 6)
    torch.testing.assert_close(draws.log_ratio, top.log_q - top.log_p + below.log_q - below.log_p)
    kl = torch.distributions.kl_divergence
    torch.testing.assert_close(draws.closed_kl, kl(q, model.prior()) + kl(below.q, model.prior()).mean(0))


def test_the_kl_of_each_layer_is_a_figure_and_the_first_is_nearest_to_the_image():
    top, middle, bottom = [
        Latent(
            *[torch.distributions.Independent(torch.distributions.Normal(torch.full((5, 1), m), 1.0), 1) for m in pair],
            (2,),
        )
        for pair in ((1.0, 0.0), (0.0, 2.0), (3.0, 0.0))
    ]
    terms = Draws([top, middle, bottom], torch.zeros(2, 5)).terms()
    assert list(terms) == ["nelbo", "kl", "reconstruction", "kl_z1", "kl_z2", "kl_z3"]
    # ½ of the squared distance of the means
    assert [terms[f"kl_z{layer}"][0].item() for layer in (1, 2, 3)] == pytest.approx([4.5, 2.0, 0.5])
    assert terms["kl"].tolist() == pytest.approx([7.0] * 5)
    assert "kl_z1" not in Draws([top], torch.zeros(2, 5)).terms()


def test_a_model_without_latent_variables_has_no_kl():
    draws = Draws([], torch.randn(1, 5))
    terms = draws.terms()
    assert not terms["kl"].any()
    torch.testing.assert_close(terms["nelbo"], -draws.log_likelihood[0])
    torch.testing.assert_close(draws.log_weights, draws.log_likelihood)


def flow(features: int = 2) -> TransformedDistribution:
    """A planar flow in the direction in which it is drawn in closed form, over a scaled normal."""
    base = Independent(Normal(torch.randn(5, features), 0.7), 1)
    layers = [PlanarTransform(torch.randn(features), torch.randn(features), torch.randn(())).inv for _ in range(2)]
    return TransformedDistribution(base, [AffineTransform(0.3, 2.0), *layers])


def test_a_flow_gives_its_density_with_the_draw():
    q = flow()
    z, log_q = draw_with_density(q, (7,))
    assert z.shape == (7, 5, 2)
    torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-4, atol=1e-4)
    plain = Independent(Normal(torch.zeros(5, 2), 1.0), 1)
    assert draw_with_density(plain, (3,))[1] is None


def test_the_centre_of_a_flow_is_the_image_of_its_bases_centre():
    q = flow()
    expected = q.base_dist.mean
    for transform in q.transforms:
        expected = transform(expected)
    torch.testing.assert_close(centre(q), expected)
    of_zuko = zuko.flows.MAF(2, transforms=1, hidden_features=(8,))()
    torch.testing.assert_close(of_zuko.transform(centre(of_zuko)), torch.zeros(2), rtol=0, atol=1e-5)
    mixture = torch.distributions.Distribution(validate_args=False)
    with pytest.raises(NotOffered, match="Distribution does not have a mean"):
        centre(mixture)
