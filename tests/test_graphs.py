"""The steps that a GPU captures are the plain steps: run as they are on a CPU, bit for bit."""

import logging

import pytest
import torch
from torch.utils.data import DataLoader

from helpers import Follower, digits, small_training, trainer
from kinds import EACH, KINDS, built
from vae_lab.errors import ConfigError
from vae_lab.losses import KL, Outcome
from vae_lab.training import graphs
from vae_lab.training.module import Training
from vae_lab.training.schedulers import warmup_cosine


@pytest.fixture
def uncaptured(monkeypatch) -> list[int]:
    """Programs on a CPU, run as they are where a GPU would replay a graph; numbers of steps of each program."""
    sizes: list[int] = []

    def run_as_it_is(program):
        sizes.append(program.steps)
        return program

    monkeypatch.setattr(graphs, "DEVICE", "cpu")
    monkeypatch.setattr(graphs, "Graph", run_as_it_is)
    monkeypatch.setattr("vae_lab.data.base.draw", lambda pixels: torch.bernoulli(pixels.float().div_(255)))
    return sizes


def fused_adam(weights):
    return torch.optim.Adam(weights, fused=True)


def trained(name: str, folder, asked, **options):
    training, data = built(KINDS[name])
    training.graphs, training.steps_at_once = asked, 4  # an epoch: 4 steps at once, 1 alone, 1 of a smaller batch
    fit = trainer(folder, max_epochs=3, limit_val_batches=0, **options)
    fit.fit(training, data)
    state = [value for of in fit.optimizers for each in of.state.values() for value in each.values()]
    return training.state_dict(), training.model.history, state, torch.get_rng_state(), fit.global_step


@pytest.mark.parametrize("name", EACH)
def test_captured_steps_are_plain_steps_bit_for_bit(tmp_path, name, uncaptured):
    plain = trained(name, tmp_path, False)
    assert not uncaptured
    captured = trained(name, tmp_path, True)
    assert uncaptured == [4, 1]
    torch.testing.assert_close(captured, plain, rtol=0, atol=0)


def test_several_groups_of_an_optimiser_have_a_rate_each_and_the_schedule_moves_them(tmp_path, small_data, uncaptured):
    def optimizer(weights):
        groups = [{"params": weights[:4], "lr": 1e-3}, {"params": weights[4:], "lr": 2e-3}]
        return torch.optim.AdamW(groups, fused=True)

    def ends(asked):
        torch.manual_seed(3)
        training = small_training(optimizer=optimizer, scheduler=warmup_cosine, graphs=asked)
        trainer(tmp_path).fit(training, small_data)
        return training.state_dict(), [row["lr"] for row in training.model.history]

    torch.testing.assert_close(ends(True), ends(False), rtol=0, atol=0)
    assert uncaptured == [1]


def test_a_run_that_is_cut_off_between_captured_steps_ends_the_same(tmp_path, small_data, uncaptured):
    class CutOff(Training):
        def _after_steps(self):
            super()._after_steps()
            if self.trainer.global_step == 7:  # of five in an epoch, between a replay of one step and one of two
                self.trainer.save_checkpoint(tmp_path / "cut_off.ckpt")
                raise KeyError("cut off")

    def fit_with(kind, checkpoint=None):
        torch.manual_seed(3)
        plain = small_training()
        training = kind(plain.model, plain.loss, fused_adam, warmup_cosine, ema=0.9, graphs=True)
        training.steps_at_once = 2
        fit = trainer(tmp_path, max_epochs=3)
        fit.fit(training, small_data, ckpt_path=checkpoint, weights_only=True)
        return training.state_dict()

    whole = fit_with(Training)
    with pytest.raises(KeyError, match="cut off"):
        fit_with(CutOff)
    resumed = fit_with(Training, tmp_path / "cut_off.ckpt")
    torch.testing.assert_close(resumed, whole, rtol=0, atol=0)
    assert set(uncaptured) == {1, 2}


@pytest.mark.usefixtures("uncaptured")
def test_trying_a_program_changes_nothing(tmp_path, small_data, caplog):
    caplog.set_level(logging.INFO)
    before = {}

    class Tried(Training):
        def _several_steps(self, dataloader_iter):
            before.setdefault("state", {name: value.clone() for name, value in self.state_dict().items()})
            before.setdefault("random", torch.get_rng_state())
            super()._several_steps(dataloader_iter)

    real, after = graphs.capture, {}

    def capture(program):
        found = real(program)
        after.setdefault("state", {name: value.clone() for name, value in program.module.state_dict().items()})
        after.setdefault("random", torch.get_rng_state())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "capture", capture)
        plain = small_training(optimizer=fused_adam)
        training = Tried(plain.model, plain.loss, plain.make_optimizer, graphs="auto")
        trainer(tmp_path, max_epochs=1).fit(training, small_data)
    torch.testing.assert_close(after, before, rtol=0, atol=0)
    assert "trainer.graphs: 1 step is captured; the figures differ by at most 0.0e+00" in caplog.text


class Reading(KL):
    """A loss that reads a number on the host."""

    def forward(self, model, x, weight=None, stage="model"):
        outcome = super().forward(model, x, weight, stage)
        return Outcome(outcome.loss + 0 * outcome.loss.item(), outcome.figures)


@pytest.mark.parametrize(
    ("options", "trained_by", "reason"),
    [
        ({"optimizer": torch.optim.SGD}, {}, "SGD is no fused Adam or AdamW"),
        ({"optimizer": torch.optim.Adam}, {}, "Adam is no fused Adam or AdamW; use optimizer.fused=true"),
        ({}, {"callbacks": [Follower()]}, "a callback or an argument of the Trainer follows each batch"),
        ({}, {"detect_anomaly": True}, "trainer.detect_anomaly looks at each operation"),
        ({"loss": Reading()}, {}, "a step waits for the device: aten::_local_scalar_dense in test_graphs.py"),
    ],
)
@pytest.mark.usefixtures("uncaptured")
def test_what_cannot_be_captured_is_named_and_with_auto_made_step_by_step(
    tmp_path, small_data, options, trained_by, reason, caplog
):
    caplog.set_level(logging.INFO)
    options = {"optimizer": fused_adam} | options
    with pytest.raises(ConfigError, match=f"^trainer.graphs=True: .*{reason}"):
        trainer(tmp_path, **trained_by).fit(small_training(graphs=True, **options), small_data)
    fit = trainer(tmp_path, **trained_by)
    fit.fit(small_training(graphs="auto", **options), small_data)
    assert fit.global_step == 10
    assert reason in caplog.text


@pytest.mark.usefixtures("uncaptured")
def test_a_graph_whose_figures_differ_is_not_used(tmp_path, small_data, monkeypatch, caplog):
    class Wrong:
        def __init__(self, program):
            self.program = program

        def run(self):
            self.program.run()
            self.program.rows.mul_(1.01)

    monkeypatch.setattr(graphs, "Graph", Wrong)
    fit = trainer(tmp_path)
    fit.fit(small_training(optimizer=fused_adam), small_data)
    assert fit.global_step == 10
    assert "steps are made one by one, since captured and plain steps differ by 1.0e-02 of a figure" in caplog.text


@pytest.mark.usefixtures("uncaptured")
def test_batches_of_another_loader_are_not_captured(tmp_path):
    loader = DataLoader(digits(40)[0].float() / 255, batch_size=8)
    with pytest.raises(ConfigError, match="the batches do not come from a data module"):
        trainer(tmp_path).fit(small_training(optimizer=fused_adam, graphs=True), loader)


def test_on_a_cpu_graphs_are_refused_before_the_run_and_auto_makes_plain_steps(tmp_path, small_data):
    with pytest.raises(ConfigError, match=r"graphs are captured on an NVIDIA GPU, and this run is on the cpu"):
        trainer(tmp_path).fit(small_training(graphs=True), small_data)
    training = small_training()
    trainer(tmp_path).fit(training, small_data)
    assert training.captured is None
