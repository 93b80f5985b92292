"""Annealed importance sampling against exact evidence, from below and from above."""

import math

import pytest
import torch

from helpers import LinearGaussian, call, small_vae
from vae_lab import load
from vae_lab.errors import NotOffered
from vae_lab.evaluation import annealed as annealing
from vae_lab.evaluation.annealed import annealed, schedule, simulated
from vae_lab.evaluation.hamiltonian import move, point_at
from vae_lab.models import Model


def test_the_estimate_is_the_exact_evidence_within_its_error():
    model = LinearGaussian()
    x, _ = simulated(model, 30)
    found = annealed(model, x, steps=60, chains=8)
    difference = found.log_prob - model.evidence(x)
    # a lower bound, whose distance to the evidence is half the variance of log p̂ and so below 0.1 here
    error = difference.std() / math.sqrt(len(x))
    assert difference.mean().abs() < 4 * error + 0.1
    assert difference.std() < 0.5
    assert found.acceptance.mean().item() == pytest.approx(0.65, abs=0.1)
    assert (found.effective >= 1).all()
    assert (found.effective <= 8.001).all()


def test_the_weights_are_unbiased_however_few_the_steps():
    model = LinearGaussian(latent=1)
    x, _ = simulated(model, 1)
    found = annealed(model, x.expand(3000, -1, -1, -1), steps=4, chains=1)
    ratio = (found.log_prob - model.evidence(x)).exp()
    # false alarm: 1 in 15,000, were the weights normal
    assert (ratio.mean() - 1).abs() < 4 * ratio.std() / math.sqrt(3000)
    assert ratio.std() > 0.1


def test_both_directions_enclose_the_evidence():
    model = LinearGaussian()
    x, z = simulated(model, 60)
    below, above = annealed(model, x, 10, 2).log_prob, annealed(model, x, 10, 2, z).log_prob
    evidence = model.evidence(x)
    for lower, upper in ((below, evidence), (evidence, above)):
        difference = upper - lower
        assert difference.mean() > -3 * difference.std() / math.sqrt(60)
    assert (above - below).mean() > 0
    closer = annealed(model, x, 40, 2, z).log_prob - annealed(model, x, 40, 2).log_prob
    assert closer.mean() < (above - below).mean()


def test_a_transition_keeps_the_density_that_it_is_for():
    model = LinearGaussian()
    x, _ = simulated(model, 1)
    posterior = model.encoder(x)
    here = point_at(model, x, posterior.sample((4000,)))
    for _ in range(5):
        here, _ = move(model, x, here, 1.0, torch.full((1,), 0.4, dtype=torch.float64))
    z = here.z[:, 0]
    deviations = model.covariance.diagonal().sqrt()
    assert ((z.mean(0) - posterior.mean[0]).abs() < 4.5 * deviations / math.sqrt(4000)).all()
    torch.testing.assert_close(z.T.cov(), model.covariance, rtol=0.12, atol=0.01)


def test_the_parts_do_not_depend_on_memory(monkeypatch):
    model = small_vae()
    x, z = simulated(model, 5)
    monkeypatch.setattr(Model, "at_once", 2 * (3 + annealing.PILOTS))
    for codes in (None, z):
        found = annealed(model, x, 3, 3, codes)
        assert [len(values) for values in found] == [5, 5, 5]
        assert all(values.isfinite().all() for values in found)


def test_no_parameter_gets_a_gradient():
    model = small_vae()
    x, _ = simulated(model, 2)
    annealed(model, x, 3, 2)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_the_schedule_rises_from_0_to_1_and_is_slow_at_both_ends():
    betas = torch.tensor(schedule(50))
    rises = betas.diff()
    assert (betas[0], betas[-1]) == (0, 1)
    assert (rises > 0).all()
    assert rises[0] < rises[25] / 5 > rises[-1]


def test_a_model_without_densities_of_codes_is_refused():
    class Other(Model):
        def draw_codes(self, n):
            return torch.zeros(n, 1)

    with pytest.raises(NotOffered, match="Other does not have a likelihood"):
        annealed(Other((1, 2, 2)), torch.zeros(1, 1, 2, 2), 2, 1)


@pytest.mark.slow
def test_both_directions_meet_within_half_a_nat_at_the_default_run(mnist_root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = call("hydra.run.dir=run", f"data.root={mnist_root}", "trainer.accelerator=cpu")
    assert answer.code == 0, answer.err
    model = load(tmp_path / "run").eval()
    x, z = simulated(model, 100)
    difference = annealed(model, x, 1000, 8, z).log_prob - annealed(model, x, 1000, 8).log_prob
    assert -3 * difference.std() / 10 < difference.mean() < 0.5
