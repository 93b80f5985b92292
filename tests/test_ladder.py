"""Ladders: their evidence by a direct integral, their KL by layers, their codes and draws against their densities."""

import json
import math
from pathlib import Path

import pytest
import torch
from torch.distributions import Normal

import vae_lab
from helpers import FIGURES, Follower, call, small_vae, trainer
from vae_lab.errors import NotOffered
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.losses import KL, SGVB
from vae_lab.models import ConvLadder, MLPLadder
from vae_lab.models.ladder import bounded
from vae_lab.training.module import Training

SMALL = (1, 3, 4)


def mlp(latent_dims=(3, 2, 2), shape=SMALL, likelihood=None, merge="residual") -> MLPLadder:
    widths = [12, 8, 6, 5][: len(latent_dims)]
    return livened(MLPLadder(list(latent_dims), widths, likelihood or Bernoulli(), shape, merge=merge))


def precision(**options) -> MLPLadder:
    return mlp(merge="precision", **options)


def conv(latents=(1, 2), shape=SMALL, likelihood=None) -> ConvLadder:
    return livened(ConvLadder([3, 4], list(latents), [1, 2], 2, likelihood or Bernoulli(), shape))


def livened(model):
    """Weights three times as large: the layers then depend on each other as in a trained ladder."""
    for parameter in model.parameters():
        parameter.data *= 3
    return model


LADDERS = {"residual": mlp, "precision": precision, "conv": conv}
SHAPES = {"odd": (1, 5, 7), "colour": (3, 8, 6), "pixel": (1, 1, 1)}


@pytest.fixture
def model(request):
    return LADDERS[request.param]()


both = pytest.mark.parametrize("model", LADDERS, indirect=True)


def grid(reach: float = 8.0, n: int = 201) -> tuple[torch.Tensor, float]:
    """Joint codes over a square of the plane, (n², 1, 2), and the log of the area of each."""
    line = torch.linspace(-reach, reach, n, dtype=torch.float64)
    return torch.cartesian_prod(line, line)[:, None], 2 * math.log(2 * reach / (n - 1))


def fitted(model):
    """Some steps on its own images: the posterior of an untrained model misses where the weights are."""
    x = model.images_given(model.draw_codes(200)).sample().detach()
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-2), KL()
    for _ in range(150):
        optimizer.zero_grad()
        loss(model, x).loss.backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("merge", ["residual", "precision"])
def test_the_bound_reaches_the_evidence_that_an_integral_gives(merge):
    """1 + 1 latent variables: p(x) = ∬ p(x|z_1) p(z_1|z_2) p(z_2) dz_1 dz_2."""
    model = fitted(mlp((1, 1), merge=merge).double())
    x = model.images_given(model.draw_codes(3)).sample().detach()
    codes, area = grid()
    log_p, log_likelihood = model.densities(codes, x)
    torch.testing.assert_close((log_p + area).logsumexp(0), torch.zeros(1).double(), rtol=0, atol=1e-3)
    evidence = (log_p + log_likelihood + area).logsumexp(0)
    n, k = 40, 1000
    # 1/k Σ w is p(x) on average: its ratio to the evidence is 1
    ratios = (model.log_prob(x.repeat(n, 1, 1, 1), k).view(n, 3) - evidence).exp()
    assert ((ratios.mean(0) - 1).abs() < 4 * ratios.std(0) / n**0.5).all()
    assert (ratios.std(0) < 0.5).all()


def test_elbo_is_below_the_bound_which_is_below_the_evidence():
    model = fitted(mlp((1, 1)).double())
    x = model.images_given(model.draw_codes(1)).sample().detach()
    codes, area = grid()
    evidence = (sum(model.densities(codes, x)) + area).logsumexp(0)
    many = model.bounds(x.repeat(500, 1, 1, 1), 20)
    elbo, bound = -many.nelbo.mean(), -many.nll.mean()
    error = many.nll.std() / 500**0.5
    assert elbo < bound < evidence + 4 * error


@both
def test_kl_by_layers_is_the_mean_log_ratio_of_the_joint(model):
    model = model.double()
    x = torch.rand(2, *SMALL, dtype=torch.float64).round()
    draws = model.draw(model.infer(x), x, 20_000)
    of_layers = draws.closed_kls
    assert len(of_layers) == len(model.latents)
    log_p, _ = model.densities(draws.z, x)
    log_q = torch.stack([latent.log_q for latent in draws.latents]).sum(0)
    difference = log_q - log_p
    # both are means over the same draws; the spread of the ratio is the larger one
    error = difference.std(0) / 20_000**0.5
    assert ((sum(of_layers) - difference.mean(0)).abs() < 4 * error).all()
    assert all((kl > 0).all() for kl in of_layers)


@both
def test_terms_name_the_layers_from_the_image_up(model):
    x = torch.rand(2, *SMALL).round()
    terms = model.measure(x)
    names = [f"kl_z{layer}" for layer in range(1, len(model.latents) + 1)]
    assert list(terms)[3:] == names
    torch.testing.assert_close(sum(terms[name] for name in names), terms["kl"])


@both
def test_densities_of_joint_codes_are_those_of_the_draws(model):
    model = model.double()
    x = torch.rand(3, *SMALL, dtype=torch.float64).round()
    draws = model.draw(model.infer(x), x, 4)
    log_p, log_likelihood = model.densities(draws.z, x)
    torch.testing.assert_close(log_likelihood, draws.log_likelihood)
    torch.testing.assert_close(log_p, torch.stack([latent.log_p for latent in draws.latents]).sum(0))
    one_by_one = [model.densities(z, x[:1])[0] for z in draws.z[:, :1]]
    torch.testing.assert_close(torch.cat(one_by_one), log_p[:, 0])


@both
def test_draws_of_the_prior_have_its_density(model):
    """The topmost layer's moments, and the distance of every layer from its mean, as −2 log p says it."""
    codes = model.double().draw_codes(20_000)
    assert codes.shape == (20_000, sum(model.latents))
    top = codes[:, : model.latents[0]]
    assert (top.mean(0).abs() < 4 / 20_000**0.5).all()
    assert ((top.var(0) - 1).abs() < 4 * (2 / 20_000) ** 0.5).all()
    # squared distances to the means in standard deviations: each number of z has one of mean 1 and variance 2
    x = torch.zeros(1, *SMALL, dtype=torch.float64)
    log_p, _ = model.densities(codes[:, None], x)
    widths = log_widths(model, codes)
    squares = -2 * (log_p[:, 0] + widths) - codes.shape[1] * math.log(2 * math.pi)
    assert (squares.mean() - codes.shape[1]).abs() < 4 * (2 * codes.shape[1] / 20_000) ** 0.5


def log_widths(model, codes):
    """Sum of the log standard deviations of p(z_l | z_>l) on the way down, (n,)."""
    found, parts = [], model._parts(codes)

    def choose(layer, prior, _):
        found.append(0.5 * prior.chunk(2, -1)[1].sum(-1).expand(len(codes)))
        return parts[layer]

    model._descend(choose)
    return torch.stack(found).sum(0)


def test_the_merge_is_the_product_of_two_normals():
    """N(z; μ̂, σ̂²) N(z; μ_p, σ_p²), normalised by an integral."""
    rung = mlp((1, 1), merge="precision").double().rungs[0]
    numbers = torch.tensor([[0.7, -0.9], [-1.2, 0.4]], dtype=torch.float64)
    (mean, log_variance), (of_image, _) = numbers
    z = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    parts = Normal(mean, (log_variance / 2).exp()), Normal(of_image, (bounded(numbers[1])[1] / 2).exp())
    product = sum(part.log_prob(z) for part in parts).exp()
    product /= torch.trapezoid(product, z)
    found = rung.posterior(numbers[:1], torch.empty(0), numbers[1:])[0]
    assert found[0].item() == pytest.approx(torch.trapezoid(product * z, z).item(), abs=1e-6)
    variance = torch.trapezoid(product * (z - found[0]) ** 2, z).item()
    assert found[1].item() == pytest.approx(math.log(variance), abs=1e-6)


@both
def test_the_code_is_the_mean_of_each_layer_given_the_means_above(model):
    x = torch.rand(2, *SMALL)
    inferred = model.infer(x)
    code = model.encode(x)
    torch.testing.assert_close(code[:, : model.latents[0]], inferred[0].chunk(2, 1)[0])
    assert code.shape == (2, sum(model.latents))
    torch.testing.assert_close(model.encode(x[0]), code[0])


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LADDERS)
def test_every_image_shape_and_likelihood(name, shape):
    shape = SHAPES[shape]
    for likelihood in (Bernoulli(), Gaussian(learned="per_pixel")):
        model = LADDERS[name](shape=shape, likelihood=likelihood)
        x = torch.rand(2, *shape).round()
        assert model.decode(model.encode(x)).shape == x.shape
        assert model.sample(5).shape == (5, *shape)
        assert model.interpolate(x[0], x[1], 4).shape == (4, *shape)
        assert model.log_prob(x, 3).isfinite().all()


@both
@pytest.mark.parametrize("loss", [KL(), SGVB()])
def test_every_parameter_learns(model, loss):
    x = torch.rand(8, *SMALL).round()
    loss(model, x).loss.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert (parameter.grad != 0).any(), name


@both
def test_numbers_name_the_posterior_and_can_be_changed_by_gradient(model):
    x = torch.rand(4, *SMALL).round()
    numbers = model.numbers_of(x).detach().requires_grad_()
    assert numbers.shape == (4, sum(model.features))
    draws = model.draw(model.inferred_from(numbers), x, 2)
    draws.log_weights.sum().backward()
    assert (numbers.grad != 0).any(0).float().mean() > 0.5
    assert numbers.grad.isfinite().all()


@both
def test_held_layers_are_the_same_in_all_samples_of_a_row(model):
    images = model.samples_with_fixed(6)
    layers = len(model.latents)
    assert images.shape == (layers + 1, 6, *SMALL)
    spread = images.std(1).mean((1, 2, 3))
    assert spread[-1] < 1e-6
    assert (spread[:-1] > 1e-4).all()


def test_a_model_without_layers_says_so():
    with pytest.raises(NotOffered, match="VAE does not have layers"):
        small_vae().samples_with_fixed(2)


@both
def test_an_untrained_ladder_starts_at_the_mean_image(model):
    mean = torch.rand(SMALL) * 0.8 + 0.1
    model.start_at(mean)
    for parameter in [p for name, p in model.named_parameters() if name != "bias"]:
        parameter.data *= 1e-3
    torch.testing.assert_close(model.sample(4).mean(0), mean, rtol=0, atol=0.02)


def test_log_variances_are_bounded():
    found = bounded(torch.tensor([[0.0, 1e6], [3.0, -1e6]]).T.reshape(1, 4))
    assert found[:, 2:].abs().max() <= 7
    assert bounded(torch.tensor([[5.0, 0.01]]))[0, 1].item() == pytest.approx(0.01, abs=1e-6)


@both
def test_images_far_from_the_data_leave_the_loss_finite(model):
    for factor in (1e3, 1e6):
        x = torch.full((1, *SMALL), 1.0)
        numbers = model.numbers_of(x) * factor
        assert model.draw(model.inferred_from(numbers), x, 1).log_likelihood.isfinite().all()


def test_lists_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 hidden_dims for 3 latent_dims"):
        MLPLadder([1, 1, 1], [4, 4], Bernoulli(), SMALL)
    with pytest.raises(ValueError, match="2 channels, 1 latents, 2 latent_channels; each scale"):
        ConvLadder([4, 4], [1], [1, 1], 2, Bernoulli(), SMALL)


def test_scales_without_latent_variables():
    model = conv((0, 0))
    assert model.latents == [2]
    assert model.sample(2).shape == (2, *SMALL)
    assert list(model.measure(torch.zeros(1, *SMALL))) == ["nelbo", "kl", "reconstruction"]
    assert conv((0, 1)).latents == [2, 2]


@pytest.mark.parametrize("name", LADDERS)
def test_training_lowers_the_nelbo(name, tmp_path, small_data):
    model = LADDERS[name](shape=(1, 28, 28))
    trainer(tmp_path, max_epochs=2, limit_train_batches=3).fit(Training(model, KL(warmup_epochs=1)), small_data)
    nelbo = [row["train/nelbo"] for row in model.history]
    assert nelbo[-1] < nelbo[0]
    assert "val/kl_z1" in model.history[-1]


@pytest.mark.parametrize("name", LADDERS)
def test_a_training_that_was_cut_off_goes_on_bit_for_bit(name, tmp_path, small_data):
    def fit(callbacks, checkpoint=None):
        torch.manual_seed(0)
        training = Training(LADDERS[name](shape=(1, 28, 28)), KL(warmup_epochs=1))
        of_two_epochs = trainer(tmp_path, max_epochs=2, limit_train_batches=2, callbacks=callbacks)
        of_two_epochs.fit(training, small_data, ckpt_path=checkpoint, weights_only=True)
        return training

    whole = fit([])
    with pytest.raises(KeyError, match="cut off"):
        fit([Follower(3)])
    again = fit([], f"{tmp_path}/cut_off.ckpt")
    assert again.model.history == whole.model.history
    torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)


# --- from the command line ----------------------------------------------------------------------------

QUICK = (
    "trainer.accelerator=cpu",
    "trainer.max_epochs=1",
    "trainer.limit_train_batches=2",
    "data.batch_size=32",
    "data.validation=30",
    *(f"callbacks.{name}=null" for name in FIGURES),
)
SIZES = {
    "ladder": ("model.latent_dims=[2,2]", "model.hidden_dims=[8,4]"),
    "conv_ladder": ("model.channels=[2,2]", "model.latents=[0,1]", "model.latent_channels=[1,1]", "model.top_dim=2"),
}


@pytest.mark.parametrize("name", SIZES)
def test_a_ladder_from_the_command_line(name, tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    answer = call(f"model={name}", *SIZES[name], *QUICK, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "from z₁ up:" in answer.out + answer.err
    metrics = json.loads(Path("run/metrics.json").read_text())
    assert metrics["test/kl_z1"] + metrics["test/kl_z2"] == pytest.approx(metrics["test/kl"])
    assert [file.name for file in Path("run/figures").iterdir()] == ["ladder_samples.png"]
    model = vae_lab.load("run")
    assert model.encode(torch.rand(3, 1, 28, 28)).shape == (3, sum(model.latents))
    answer = call("task=evaluate", "run_dir=run", "evaluation.k=2", "evaluation.samples=none")
    assert answer.code == 0, answer.err
    assert "test/kl_2" in json.loads(Path("run/metrics.json").read_text())  # the whole KL at two draws


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("hidden_dims=[8]",), "hidden_dims=[8]: nothing of model=ladder follows it; it has model.latent_dims, "),
        (("encoder=mlp",), "encoder=mlp: model=ladder takes no encoder; leave it out"),
        (("prior=mixture",), "prior=mixture: model=ladder takes no prior; leave it out"),
        (("model.hidden_dims=[3]",), "model=ladder: 1 hidden_dims for 5 latent_dims"),
        (("model.latent_dims=[3,0]",), "model.latent_dims=[3,0]: must be greater than or equal to 1"),
        (("model.merge=sum",), "model.merge=sum: must be 'precision' or 'residual'"),
    ],
)
def test_what_a_ladder_does_not_take_is_one_line(arguments, line, tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    answer = call("model=ladder", "data.validation=30", *arguments, "hydra.run.dir=run")
    assert answer.code == 2
    assert line in answer.err
    assert answer.err.count("\n") == 1
