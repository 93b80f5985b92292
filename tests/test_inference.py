"""Inference by gradient steps: against exact posteriors, finite differences, and itself repeated."""

import itertools
import json
import math
import os
import re
import signal
from pathlib import Path

import hydra
import pytest
import torch
from torch import nn
from torch.autograd import gradcheck
from torch.distributions import Independent, MultivariateNormal, kl_divergence

from helpers import TINY, call, digits, trainer
from vae_lab import load
from vae_lab.config.check import check
from vae_lab.decoders import Decoder, MLPDecoder
from vae_lab.encoders import Encoder, MLPEncoder, NoEncoder
from vae_lab.errors import ConfigError
from vae_lab.inference import SVI, Amortized, Inference, SemiAmortized
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.losses import IWAE, KL, SGVB
from vae_lab.models import VAE
from vae_lab.paths import CONF
from vae_lab.posteriors import DiagonalNormal, FullNormal, Posterior
from vae_lab.priors import StandardNormal, Vamp
from vae_lab.training.module import Training

SHAPE = (1, 28, 28)
S2 = 0.3
WAYS = {
    "svi": lambda: SVI(steps=3),
    "svi at random": lambda: SVI(steps=3, start="random"),
    "semi-amortized": lambda: SemiAmortized(steps=3),
    "first order": lambda: SemiAmortized(steps=3, backprop_through=False),
}


def vae(inference: Inference | None, latent_dim: int = 2, shape: tuple[int, int, int] = SHAPE) -> VAE:
    has_encoder = inference is None or inference.takes_encoder
    encoder = MLPEncoder(latent_dim, [16], shape) if has_encoder else NoEncoder(latent_dim)
    return VAE(encoder, MLPDecoder(latent_dim, [16], Bernoulli(), shape), StandardNormal(latent_dim), inference)


class LinearDecoder(Decoder):
    """p(x|z) = N(x; Wz + b, s²I) over six pixels."""

    def __init__(self, w: torch.Tensor) -> None:
        super().__init__(Gaussian(scale=math.sqrt(S2), squash=False), (1, 2, 3))
        self.net = nn.Linear(w.shape[1], 6)
        self.net.weight.data = w


def linear_gaussian(inference: Inference | None, posterior: Posterior, is_diagonal: bool) -> VAE:
    """A model whose exact posterior is known, diagonal where the columns of W are orthogonal."""
    w = torch.randn(6, 2)
    w = torch.linalg.qr(w)[0] * torch.tensor([1.0, 0.5]) if is_diagonal else w
    has_encoder = inference is None or inference.takes_encoder
    encoder: Encoder = MLPEncoder(2, [4], (1, 2, 3), posterior=posterior) if has_encoder else NoEncoder(2, posterior)
    return VAE(encoder, LinearDecoder(w), StandardNormal(2), inference).double()


def exact_posterior(model: VAE, x: torch.Tensor) -> MultivariateNormal:
    w, b = model.decoder.net.weight.detach(), model.decoder.net.bias.detach()
    covariance = (torch.eye(2, dtype=w.dtype) + w.T @ w / S2).inverse()
    return MultivariateNormal((x.flatten(1) - b) @ w @ covariance / S2, covariance)


def gap(model: VAE, x: torch.Tensor) -> torch.Tensor:
    """KL(q(z|x) ‖ p(z|x)) of each image in nats, in closed form: what the ELBO lacks of log p(x)."""
    with torch.no_grad():
        q = model.infer(x)
    covariance = q.variance.diag_embed() if isinstance(q, Independent) else q.covariance_matrix
    return kl_divergence(MultivariateNormal(q.mean, covariance), exact_posterior(model, x))


@pytest.mark.parametrize("start", ["prior", "random"])
@pytest.mark.parametrize(("family", "is_diagonal"), [(DiagonalNormal, True), (FullNormal, False)])
def test_svi_reaches_the_exact_posterior(family, is_diagonal, start):
    """Within the noise of single draws: where one step leaves nats, 400 leave hundredths."""
    x = 2 * torch.randn(50, 1, 2, 3, dtype=torch.float64)
    torch.manual_seed(0)
    assert gap(linear_gaussian(SVI(1, 0.05, start), family(2), is_diagonal), x).mean() > 1
    torch.manual_seed(0)
    assert gap(linear_gaussian(SVI(400, 0.05, start), family(2), is_diagonal), x).mean() < 0.05


@pytest.mark.parametrize("way", [lambda steps: SVI(steps, lr=0.3), lambda steps: SemiAmortized(steps, lr=0.02)])
def test_more_steps_give_a_better_bound(way):
    """On average over 200 images, beyond three standard errors, until nothing is left to gain."""
    x, gaps = 2 * torch.randn(200, 1, 2, 3, dtype=torch.float64), []
    for steps in (1, 4, 16, 64):
        torch.manual_seed(0)
        gaps.append(gap(linear_gaussian(way(steps), DiagonalNormal(2), True), x))
    for fewer, more in itertools.pairwise(gaps):
        gain = fewer - more
        assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5


def test_refinement_starts_at_the_encoder_and_gains_on_it():
    model, x = linear_gaussian(None, DiagonalNormal(2), True), torch.randn(200, 1, 2, 3, dtype=torch.float64)
    codes, before = model.encode(x), gap(model, x)
    model.inference = SemiAmortized(lr=0.02)
    gain = before - gap(model, x)
    assert gain.mean() > 3 * gain.std() / len(gain) ** 0.5
    model.inference = SemiAmortized(lr=1e-12)
    torch.testing.assert_close(model.encode(x), codes)


def test_amortized_inference_is_the_encoder():
    model = vae(Amortized())
    x = torch.rand(5, *SHAPE).round()
    assert torch.equal(model.infer(x).mean, model.encoder(x).mean)
    assert torch.equal(model.numbers_of(x), model.encoder.numbers(x))


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(learned=True)])
def test_the_gradient_through_the_steps_is_that_of_finite_differences(likelihood):
    """In a random direction of all parameters, of encoder and decoder, at the same noise."""
    encoder, decoder = MLPEncoder(2, [4], (1, 2, 3)), MLPDecoder(2, [4], likelihood, (1, 2, 3))
    model = VAE(encoder, decoder, StandardNormal(2), SemiAmortized(steps=4, lr=0.05)).double()
    x, parameters = torch.rand(3, 1, 2, 3, dtype=torch.float64), [p for p in model.parameters() if p.requires_grad]
    direction = [torch.randn_like(parameter) for parameter in parameters]

    def loss() -> torch.Tensor:
        torch.manual_seed(0)
        return KL()(model, x).loss

    def moved(by: float) -> torch.Tensor:
        with torch.no_grad():
            for parameter, along in zip(parameters, direction, strict=True):
                parameter += by * along
        return loss()

    slopes = torch.autograd.grad(loss(), parameters)
    expected = (moved(1e-5) - moved(-2e-5)) / 2e-5
    found = sum((slope * along).sum() for slope, along in zip(slopes, direction, strict=True))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_the_gradient_through_the_steps_reaches_the_start():
    weight = torch.randn(2, 2, dtype=torch.float64, requires_grad=True)
    start = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)

    def end(start, weight):
        return SemiAmortized(steps=3, lr=0.1).refine(
            start, torch.ones(3, 1), lambda numbers, x: -((numbers @ weight).cosh() * x).sum(1)
        )

    assert gradcheck(end, (start, weight))


def test_the_first_order_gradient_is_that_at_the_end():
    start = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    x = torch.randn(3, 2, dtype=torch.float64)
    way = SemiAmortized(steps=4, lr=0.1, momentum=0.0, backprop_through=False)
    end = way.refine(start, x, lambda numbers, x: -0.5 * (numbers - x).square().sum(1))
    left = (1 - 0.1) * (1 - 0.075) * (1 - 0.05) * (1 - 0.025)
    torch.testing.assert_close(end, x + left * (start - x))
    (slope,) = torch.autograd.grad(end.cosh().sum(), start)
    torch.testing.assert_close(slope, end.sinh())


@pytest.mark.parametrize("way", WAYS)
def test_steps_leave_the_parameters_and_their_gradients(way):
    model = vae(WAYS[way]())
    before = [parameter.clone() for parameter in model.parameters()]
    q = model.infer(torch.rand(4, *SHAPE).round())
    for parameter, value in zip(model.parameters(), before, strict=True):
        assert parameter.grad is None
        assert torch.equal(parameter, value)
    assert q.mean.requires_grad == model.inference.takes_encoder


@pytest.mark.parametrize("loss", [KL(), SGVB(), IWAE(4)])
@pytest.mark.parametrize("way", WAYS)
def test_every_parameter_learns(way, loss):
    model = vae(WAYS[way]())
    loss(model, torch.rand(8, *SHAPE).round()).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("way", WAYS)
def test_a_plain_trainer_tests_it_with_the_same_figures_each_time(tmp_path, way):
    """Under inference mode, as Lightning tests, and without: bit for bit."""
    training, found = Training(vae(WAYS[way]()), KL()), []
    images = digits(40)[0]
    loader = torch.utils.data.DataLoader(images, batch_size=20)
    for inference_mode in (True, True, False):
        test = trainer(tmp_path, inference_mode=inference_mode)
        test.test(training, loader, verbose=False)
        found.append(dict(test.callback_metrics))
    assert found[0] == found[1] == found[2]


def test_images_are_refined_in_parts(monkeypatch):
    sizes = []

    class Watched(SVI):
        def refine(self, start, x, elbo):
            sizes.append(len(x))
            return super().refine(start, x, elbo)

    model = vae(Watched(steps=1))
    whole = model.log_prob(torch.ones(7, *SHAPE), k=2)
    monkeypatch.setattr(VAE, "at_once", 3)
    assert model.infer(torch.ones(7, *SHAPE)).mean.shape == (7, 2)
    assert sizes == [7, 3, 3, 1]
    assert whole.shape == (7,)


def test_what_does_not_fit_is_refused():
    decoder, prior = MLPDecoder(2, [4], Bernoulli(), SHAPE), StandardNormal(2)
    with pytest.raises(ValueError, match="inference by SVI works without the network of an encoder"):
        VAE(MLPEncoder(2, [4], SHAPE), decoder, prior, SVI())
    with pytest.raises(ValueError, match="inference by Amortized works with the network of an encoder"):
        VAE(NoEncoder(2), decoder, prior)
    with pytest.raises(ValueError, match="posteriors of pseudo-inputs, and no network gives them"):
        VAE(NoEncoder(2), decoder, Vamp(3), SVI())


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["inference=svi", "encoder=mlp"], "encoder=mlp: inference=svi has no encoder; leave it out"),
        (["encoder=none"], "encoder=none: inference=amortized starts from an encoder; use encoder=mlp"),
        (["inference=semi_amortized", "encoder=none"], "encoder=none: inference=semi_amortized starts from an encoder"),
        (["inference=svi", "prior=vamp", "loss=sgvb"], "prior=vamp: its components come from an encoder"),
        (["inference=svi", "loss=dreg"], "loss=dreg: changes only the gradient of an encoder"),
        (["inference=svi", "loss.coeff=2"], "loss.coeff=2: inference=svi climbs the ELBO itself"),
        (["inference=svi", "loss.warmup_epochs=2"], "loss.warmup_epochs=2: inference=svi climbs the ELBO itself"),
        (["inference=semi_amortized", "inference.momentum=1"], "inference.momentum=1: must be less than 1"),
    ],
)
def test_a_command_that_does_not_fit_is_refused(overrides, line):
    with (
        hydra.initialize_config_dir(str(CONF), version_base="1.3"),
        pytest.raises(ConfigError, match=re.escape(line)),
    ):
        check(hydra.compose("config", overrides))


RUN = (*TINY, "data.batch_size=8", "trainer.limit_train_batches=40", "inference.steps=2")


@pytest.fixture(params=["svi", pytest.param("semi_amortized", marks=pytest.mark.slow)])
def run(request, tmp_path, small_files, monkeypatch) -> tuple[Path, tuple[str, ...]]:  # noqa: ARG001
    """A finished run of two epochs, and the words that it was started with."""
    monkeypatch.chdir(tmp_path)
    words = (*RUN, f"inference={request.param}")
    answer = call(*words, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    return tmp_path / "run", words


def test_a_finished_run_is_evaluated_and_loaded(run):
    def figures() -> dict:
        answer = call("task=evaluate", f"run_dir={run[0]}", "evaluation.samples=none", "evaluation.k=2")
        assert answer.code == 0, answer.err
        found = json.loads((run[0] / "metrics.json").read_text())
        return {name: value for name, value in found.items() if "seconds" not in name}

    assert figures() == figures()
    model = load(run[0])
    assert model.inference.steps == 2
    assert model.reconstruct(digits(3)[0]).shape == (3, *SHAPE)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_as_if_undisturbed(run, monkeypatch):
    calls, real = itertools.count(), Training._steps_to_take

    def signalled(training):
        if next(calls) == 4:  # within the second epoch
            os.kill(os.getpid(), signal.SIGTERM)
        return real(training)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_steps_to_take", signalled)
        assert call(*run[1], "hydra.run.dir=stopped").code == 128 + signal.SIGTERM
    assert call("resume=stopped").code == 0
    assert Path("stopped/metrics.csv").read_text() == (run[0] / "metrics.csv").read_text()
