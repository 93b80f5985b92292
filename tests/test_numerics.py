"""The ends of the number line: finite losses and gradients, or a clear stop."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal
from torch.utils.data import DataLoader

from helpers import digits, small_training, small_vae, trainer
from vae_lab.errors import NonFiniteError
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.losses import KL, SGVB
from vae_lab.posteriors import DiagonalNormal
from vae_lab.priors import ContinuousFlow, Flow, Mixture, PlanarFlow, StandardNormal, Vamp

PRIORS = {
    "standard_normal": StandardNormal,
    "mixture": lambda latent: Mixture(latent, components=3),
    "planar_flow": lambda latent: PlanarFlow(latent, layers=3),
    "vamp": lambda _: Vamp(components=3),
    "spline": lambda latent: Flow(latent, transforms=1),
    "autoregressive": lambda latent: Flow(latent, kind="autoregressive", transforms=1),
    "continuous_flow": lambda latent: ContinuousFlow(latent, [8]),
}
IMAGES = {
    "black": torch.zeros(4, 1, 28, 28),
    "white": torch.ones(4, 1, 28, 28),
    "one": torch.ones(1, 1, 28, 28),
    "grey": torch.full((2, 1, 28, 28), 0.5),
}


def gradients_are_finite(model, loss) -> bool:
    loss.backward()
    return all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("latent", [1, 2, 40])
@pytest.mark.parametrize("name", PRIORS)
def test_images_of_one_kind_and_batches_of_one(name, latent):
    for x in IMAGES.values():
        model = small_vae(latent, PRIORS[name](latent))
        loss, figures = SGVB()(model, x)
        assert figures["nelbo"].shape == (len(x),)
        assert figures["nelbo"].isfinite().all()
        assert gradients_are_finite(model, loss)
        assert model.log_prob(x, k=5).isfinite().all()


@pytest.mark.parametrize("precision", ["32-true", "64-true", "bf16-mixed"])
@pytest.mark.parametrize("name", PRIORS)
def test_every_precision_trains(tmp_path, small_data, name, precision):
    training = small_training(2, SGVB(), prior=PRIORS[name](2))
    trainer(tmp_path, max_epochs=1, limit_train_batches=3, precision=precision).fit(training, small_data)
    assert math.isfinite(training.model.history[-1]["val/nelbo"])
    assert all(p.isfinite().all() for p in training.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", "64-true"])
def test_every_precision_of_a_gpu_trains(tmp_path, small_data, precision):
    model = small_training(2, SGVB(), prior=Mixture(2))
    trainer(tmp_path, accelerator="gpu", max_epochs=2, precision=precision).fit(model, small_data)
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("size", [100.0, 1e4, 1e30])
def test_logits_far_out_are_finite_with_their_gradients(size):
    for sign in (1.0, -1.0):
        logits = torch.full((2, 1, 28, 28), sign * size, requires_grad=True)
        for x in (torch.zeros(2, 1, 28, 28), torch.ones(2, 1, 28, 28)):
            (gradient,) = torch.autograd.grad(Bernoulli()(logits).log_prob(x).sum(), logits)
            assert Bernoulli()(logits).log_prob(x).isfinite().all()
            torch.testing.assert_close(gradient, x - (sign > 0) * torch.ones_like(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("spread", [1.0, 30.0, 100.0, 300.0])
def test_log_densities_of_images_against_double_precision(dtype, spread):
    """In bfloat16, as mixed precision gives them, the logits are rounded and the sum is not."""
    logits = (spread * torch.randn(8, 1, 28, 28)).to(dtype)
    x = torch.rand(8, 1, 28, 28).round()
    exact = Bernoulli()(logits.double()).log_prob(x.double())
    for gradient in (True, False):
        with torch.set_grad_enabled(gradient), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            found = Bernoulli()(logits).log_prob(x)
        torch.testing.assert_close(found.double(), exact, rtol=2e-6, atol=0)


@pytest.mark.parametrize("scale", [1e-3, 0.7, 1e3])
def test_log_densities_of_grey_images_against_double_precision(scale):
    output, x = torch.randn(8, 1, 28, 28), torch.rand(8, 1, 28, 28)
    found = Gaussian(scale=scale)(output).log_prob(x)
    # the scale itself is kept in single precision, so that the same scale is compared
    exact = Gaussian(scale=scale).double()(output.double()).log_prob(x.double())
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=0)


@pytest.mark.parametrize("reach", [1.0, 30.0])
@pytest.mark.parametrize("name", PRIORS)
def test_log_densities_of_codes_against_double_precision(name, reach):
    model = small_vae(5, PRIORS[name](5))
    z = reach * torch.randn(50, 5)
    with torch.no_grad():
        single = model.prior().log_prob(z)
        double = model.double().prior().log_prob(z.double())
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), double, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("log_variance", [-80.0, -20.0, 0.0, 80.0])
def test_posteriors_that_collapse_or_explode(log_variance):
    """σ from 4e-18 to 2e17: the KL and its gradient are right. Further out it is infinite, and training stops."""
    parameters = torch.cat((torch.zeros(1, 3), torch.full((1, 3), log_variance)), 1).requires_grad_()
    posterior = DiagonalNormal(3)(parameters)
    standard = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    kl = torch.distributions.kl_divergence(posterior, standard)
    exact = 1.5 * (math.exp(log_variance) - 1 - log_variance)
    assert kl.item() == pytest.approx(exact, rel=1e-5)
    (gradient,) = torch.autograd.grad(kl.sum(), parameters)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("log_variance", [-1e3, -200.0, 200.0])
@pytest.mark.parametrize("loss", [KL, SGVB])
def test_a_posterior_out_of_range_stops_the_training_by_name(tmp_path, small_data, log_variance, loss):
    model = small_training(loss=loss())
    model.model.encoder.net[-1].bias.data[2:] = log_variance
    assert "kl" in end_of(lambda: trainer(tmp_path, max_epochs=1).fit(model, small_data))


def end_of(fit) -> str:
    with pytest.raises(NonFiniteError) as raised:
        fit()
    return str(raised.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["an image", "a weight"])
def test_what_is_not_finite_stops_the_training_by_name(tmp_path, value, where):
    model = small_training()
    x = digits(64)[0].float() / 255
    if where == "an image":
        x[40, 0, 3, 3] = value
    else:
        model.model.encoder.net[0].weight.data[0, 0] = value
        x[:, 0, 0, 0] = 1
    line = end_of(lambda: trainer(tmp_path, max_epochs=1).fit(model, DataLoader(x, batch_size=32)))
    assert "epoch 0, step" in line
    assert "not finite" in line
    assert "\n" not in line


def test_a_kl_that_explodes_stops_the_training_by_name(tmp_path, small_data):
    model = small_training(loss=KL())
    model.model.encoder.net[-1].bias.data[2:] = 200  # log σ²
    assert "kl were not finite" in end_of(lambda: trainer(tmp_path, max_epochs=1).fit(model, small_data))


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_a_measurement_that_is_not_finite_is_no_result(tmp_path, small_data, stage):
    model = small_training()
    model.model.decoder.net[-1].bias.data[5] = math.nan
    line = end_of(lambda: getattr(trainer(tmp_path), stage)(model, small_data, verbose=False))
    assert "reconstruction" in line


def test_weights_spoilt_by_the_last_step_of_an_epoch_are_not_kept(tmp_path, small_data):
    class Spoilt(torch.optim.SGD):
        steps = 0

        def step(self, closure=None):
            super().step(closure)
            self.steps += 1
            if self.steps == 5:  # of five in an epoch
                self.param_groups[0]["params"][0].data.fill_(math.nan)

    model = small_training(optimizer=lambda parameters: Spoilt(parameters, lr=1e-6))
    line = end_of(lambda: trainer(tmp_path, max_epochs=2).fit(model, small_data))
    assert "not finite" in line
    assert not list(tmp_path.rglob("*.ckpt"))
