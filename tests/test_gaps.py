"""Gaps of a model whose evidence and posterior are known, and their figures."""

import json
import math

import pytest
import torch
from torch.distributions import Independent, Normal

from helpers import LinearGaussian, assert_nothing_is_cut_off, call, small_vae
from vae_lab.evaluation import gaps as module
from vae_lab.evaluation.annealed import simulated
from vae_lab.evaluation.gaps import Gaps, climb, gaps, summary
from vae_lab.figures.gaps import gaps_of_images


class WithNumbers(LinearGaussian):
    """A linear-Gaussian model whose own family is the diagonal normals.

    Args:
        orthogonal: whether the exact posterior is a diagonal normal.
        off: what the encoder adds to each exact mean.
    """

    def __init__(self, orthogonal: bool = True, off: float = 0.0) -> None:
        super().__init__()
        mixed = torch.tensor([[1.0, 0.0 if orthogonal else 0.8], [0.0, 0.5]], dtype=torch.float64)
        self.w = torch.linalg.qr(self.w).Q @ mixed
        self.covariance = (torch.eye(2, dtype=torch.float64) + self.w.T @ self.w / self.s2).inverse()
        self.off = off

    def numbers_of(self, x):
        q = self.encoder(x)
        # the diagonal normal of highest ELBO has the inverse of the precision's diagonal as its variances
        variance = 1 / self.covariance.inverse().diagonal()
        return torch.cat((q.mean + self.off, variance.log().expand(len(x), -1)), -1)

    def inferred_from(self, numbers):
        mean, log_variance = numbers.chunk(2, -1)
        return Independent(Normal(mean, (0.5 * log_variance).exp()), 1)

    def infer(self, x):
        return self.inferred_from(self.numbers_of(x))


@pytest.fixture(autouse=True)
def _few_draws(monkeypatch):
    monkeypatch.setattr(module, "K", 400)
    monkeypatch.setattr(module, "FRESH", 400)


def test_there_are_no_gaps_where_the_encoder_gives_the_exact_posterior():
    model = WithNumbers()
    x, _ = simulated(model, 12)
    found = gaps(model, x, ais_steps=40, ais_chains=4, search_steps=40)
    torch.testing.assert_close(found.elbo, model.evidence(x), rtol=0, atol=1e-9)
    torch.testing.assert_close(found.importance, model.evidence(x), rtol=0, atol=1e-9)
    # 40 steps of noisy gradients move the numbers a little
    assert found.approximation.mean().abs() < 0.05
    assert found.amortisation.mean().abs() < 0.05
    assert (found.diagonal - found.elbo).abs().max() < 0.1


def test_a_wrong_mean_is_an_amortisation_gap_of_its_size():
    model = WithNumbers(off=0.3)
    x, _ = simulated(model, 12)
    found = gaps(model, x, ais_steps=40, ais_chains=4, search_steps=120)
    # KL(q ‖ p(z|x)) of two normals of one covariance: ½ δᵀ Σ⁻¹ δ
    exact = 0.5 * 0.3**2 * model.covariance.inverse().sum().item()
    assert found.amortisation.mean().item() == pytest.approx(exact, rel=0.15)
    assert found.approximation.mean().abs() < 0.05


def test_a_correlated_posterior_is_an_approximation_gap_of_its_size():
    model = WithNumbers(orthogonal=False)
    x, _ = simulated(model, 12)
    found = gaps(model, x, ais_steps=40, ais_chains=4, search_steps=60)
    # the least KL of a diagonal normal from N(m, Λ⁻¹): ½ (Σ log Λ_ii − log det Λ)
    precision = model.covariance.inverse()
    exact = 0.5 * (precision.diagonal().log().sum() - precision.logdet()).item()
    assert exact > 0.1
    assert found.approximation.mean().item() == pytest.approx(exact, abs=0.06)
    assert found.amortisation.mean().abs() < 0.05


def test_the_gaps_add_up_to_the_whole_for_each_image():
    values = torch.randn(5, 30)
    found = Gaps(*values, torch.ones(30), torch.ones(30))
    torch.testing.assert_close(found.approximation + found.amortisation, found.log_prob - found.elbo)
    figures = summary(found)
    assert figures["approximation"] + figures["amortisation"] == pytest.approx(figures["total"], abs=1e-6)
    assert figures["nelbo"] - figures["nll"] == pytest.approx(figures["total"], abs=1e-6)
    assert figures["nelbo_se"] == pytest.approx(values[2].std().item() / math.sqrt(30), rel=1e-5)
    assert figures["nll"] == min(figures["nll_annealed"], figures["nll_iwae_400"])


def test_the_search_reaches_the_best_of_a_family():
    torch.manual_seed(1)
    target = torch.randn(6, 2, dtype=torch.float64)

    def log_weights(numbers, k):
        return -(numbers + 0.1 * torch.randn(k, *numbers.shape) - target).square().sum(-1)

    start = target + 0.5
    found = climb(log_weights, start, 200)
    torch.testing.assert_close(found, target, rtol=0, atol=0.05)
    assert not found.requires_grad
    assert not start.requires_grad


def test_a_models_parameters_are_left_alone():
    model = small_vae()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, _ = simulated(model, 3)
    found = gaps(model, x, ais_steps=3, ais_chains=2, search_steps=2)
    assert all(len(values) == 3 and values.isfinite().all() for values in found)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert all(value.equal(before[name]) for name, value in model.state_dict().items())


def test_the_figure_names_both_gaps_and_what_they_lead_to():
    found = Gaps(*(torch.tensor([-90.0, -91, -93, -92, -92.5])[:, None] + torch.rand(5, 20)), *torch.rand(2, 20))
    figure = gaps_of_images(found)
    assert_nothing_is_cut_off(figure)
    left, right = figure.axes
    assert left.get_ylabel() == "nats per image"
    assert [text.get_text().split(":")[0] for text in left.get_legend().get_texts()] == [
        "approximation gap",
        "amortisation gap",
    ]
    assert right.get_xlabel() == "nats"


EVALUATE = ("task=evaluate", "run_dir=run", "trainer.accelerator=cpu", "evaluation.k=2", "evaluation.samples=none")


def test_the_program_measures_gaps_and_keeps_them(small_files, tiny_run, monkeypatch):  # noqa: ARG001
    monkeypatch.chdir(tiny_run.parent)
    monkeypatch.setattr(module, "STEPS", 2)
    few = ("evaluation.images=5", "evaluation.ais_steps=3", "evaluation.ais_chains=2")
    answer = call(*EVALUATE, "evaluation.gaps=true", *few)
    assert answer.code == 0, answer.err
    figures = json.loads((tiny_run / "metrics.json").read_text())
    assert figures["gaps/images"] == 5
    assert figures["gaps/approximation"] + figures["gaps/amortisation"] == pytest.approx(figures["gaps/total"])
    assert (tiny_run / "figures" / "gaps.png").is_file()
    again = call(*EVALUATE, "evaluation.bit_draws=2")
    assert again.code == 0, again.err
    assert "over 2 draws of the bits, k = 2" in again.out + again.err
    for name in ("approximation", "amortisation", "best diagonal q", "mutual information", "marginal KL"):
        assert name in again.out + again.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["evaluation.images=5"], "evaluation.images=5: has no effect without evaluation.gaps=true"),
        (["evaluation.gaps=true", "evaluation.images=71"], "evaluation.images=71: there are 70 test images"),
        (["evaluation.gaps=true", "evaluation.images=1"], "evaluation.images=1"),
        (["evaluation.gaps=true", "evaluation.ais_steps=0"], "evaluation.ais_steps=0"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_line(small_files, tiny_run, monkeypatch, given, said):  # noqa: ARG001
    monkeypatch.chdir(tiny_run.parent)
    answer = call(*EVALUATE, *given)
    assert answer.code == 2
    assert said in answer.err
    assert len(answer.err.strip().splitlines()) == 1
