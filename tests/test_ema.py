"""A moving average of the weights: its values, who uses it, and that a run that goes on has the same one."""

import math

import pytest
import torch
from lightning import Callback

from helpers import SHAPE, TINY, call, small_training, small_vae, trainer
from vae_lab.config.saved import load
from vae_lab.decoders import ConvDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.errors import UserError
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import KL
from vae_lab.models import VAE
from vae_lab.priors import StandardNormal
from vae_lab.training.average import Average
from vae_lab.training.checkpoints import BestCheckpoint, LastCheckpoint
from vae_lab.training.module import Training

DECAY = 0.8


class Recorder(Callback):
    """Keeps the raw weights after each step, and stops with an error after some steps if asked."""

    def __init__(self, fail_at: int = -1) -> None:
        self.fail_at, self.seen = fail_at, []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append({name: value.double().clone() for name, value in module.model.state_dict().items()})
        if trainer.global_step == self.fail_at:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/cut_off.ckpt")
            raise KeyError("cut off")


def by_hand(start: torch.Tensor, steps: list[torch.Tensor]) -> torch.Tensor:
    """Σ_t (1 − d_t) Π_{s>t} d_s w_t + Π_s d_s w_0 in double precision."""
    decays = [min(DECAY, t / (9 + t)) for t in range(1, len(steps) + 1)]
    shares = [(1 - d) * math.prod(decays[t + 1 :]) for t, d in enumerate(decays)]
    return math.prod(decays) * start + sum(share * w for share, w in zip(shares, steps, strict=True))


def test_the_average_is_that_of_the_closed_form(tmp_path, small_data):
    training, recorder = small_training(ema=DECAY), Recorder()
    start = {name: value.double().clone() for name, value in training.model.state_dict().items()}
    trainer(tmp_path, callbacks=[recorder]).fit(training, small_data)
    assert len(recorder.seen) == 10
    for name, value in training.model.state_dict().items():
        expected = by_hand(start[name], [weights[name] for weights in recorder.seen])
        torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(value.double(), recorder.seen[-1][name])


def test_many_steps_in_one_call_average_as_one_step_does(tmp_path, small_data):
    ends = []
    for callbacks in ([], [Recorder()]):
        torch.manual_seed(0)
        training = small_training(ema=DECAY)
        trainer(tmp_path, callbacks=callbacks).fit(training, small_data)
        ends.append(training.state_dict())
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_the_average_changes_nothing_of_training_and_is_what_validation_measures(tmp_path, small_data):
    rows, models = [], []
    for ema in (0.0, DECAY):
        torch.manual_seed(0)
        training = small_training(ema=ema)
        trainer(tmp_path).fit(training, small_data)
        rows.append(training.model.history)
        models.append(training)
    for plain, averaged in zip(*rows, strict=True):
        assert plain["train/nelbo"] == averaged["train/nelbo"]
        assert plain["val/nelbo"] != averaged["val/nelbo"]
    again = trainer(tmp_path).validate(models[1], small_data, verbose=False)[0]
    assert again["val/nelbo"] == pytest.approx(rows[1][-1]["val/nelbo"], rel=1e-6)


@pytest.mark.parametrize("at", [3, 5, 7])  # within an epoch of 5 steps, at its end, in the next one
def test_a_fit_that_goes_on_ends_as_one_that_was_not_cut_off(tmp_path, small_data, at):
    ends = []
    for fail_at in (-1, at):
        torch.manual_seed(0)
        training = small_training(ema=DECAY)
        fit = trainer(tmp_path, callbacks=[Recorder(fail_at)])
        if fail_at < 0:
            fit.fit(training, small_data)
        else:
            with pytest.raises(KeyError):
                fit.fit(training, small_data)
            training = small_training(ema=DECAY)
            trainer(tmp_path).fit(training, small_data, ckpt_path=f"{tmp_path}/cut_off.ckpt")
        ends.append((training.state_dict(), training.average.others, training.model.history))
    torch.testing.assert_close(*(end[0] for end in ends), rtol=0, atol=0)
    torch.testing.assert_close(*(end[1] for end in ends), rtol=0, atol=0)
    assert ends[0][2] == ends[1][2]


def test_checkpoints_hold_the_averaged_weights_and_the_raw_ones_beside_them(tmp_path, small_data):
    training, recorder = small_training(ema=DECAY), Recorder()
    callbacks = [recorder, BestCheckpoint(), LastCheckpoint()]
    trainer(tmp_path, callbacks=callbacks, enable_checkpointing=True).fit(training, small_data)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    torch.testing.assert_close(last["state_dict"], training.state_dict(), rtol=0, atol=0)
    for name, value in last["moment"]["average"]["raw"].items():
        assert torch.equal(value.double(), recorder.seen[-1][name])
    model = small_vae()
    model.load_state_dict(torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"])
    torch.testing.assert_close(model.state_dict(), training.state_dict(), rtol=0, atol=0)


def test_a_model_says_which_weights_are_averaged(tmp_path, small_data, monkeypatch):
    training, recorder = small_training(ema=DECAY), Recorder()
    monkeypatch.setattr(training.model, "averaged_weights", lambda: list(training.model.decoder.parameters()))
    trainer(tmp_path, callbacks=[recorder]).fit(training, small_data)
    for name, value in training.state_dict().items():
        assert torch.equal(value.double(), recorder.seen[-1][name]) == name.startswith("encoder."), name


def test_what_batch_normalisation_saw_is_averaged_with_its_weights(tmp_path, small_data):
    decoder = ConvDecoder(2, [4, 6], Bernoulli(), SHAPE, norm="batch")
    model = VAE(MLPEncoder(2, [16], SHAPE), decoder, StandardNormal(2))
    start = {name: value.double().clone() for name, value in model.state_dict().items()}
    training, recorder = Training(model, KL(), ema=DECAY), Recorder()
    trainer(tmp_path, callbacks=[recorder]).fit(training, small_data)
    statistics = [name for name in start if "running" in name]
    assert len(statistics) == 4
    for name in statistics:
        expected = by_hand(start[name], [weights[name] for weights in recorder.seen])
        torch.testing.assert_close(training.model.state_dict()[name].double(), expected, rtol=1e-4, atol=1e-5)


def test_what_cannot_be_averaged_is_refused(tmp_path, small_data):
    with pytest.raises(UserError, match="weights of 32 bits"):
        Average(small_vae().half(), DECAY)
    with pytest.raises(KeyError):
        trainer(tmp_path, callbacks=[Recorder(3)]).fit(small_training(ema=DECAY), small_data)
    file = f"{tmp_path}/cut_off.ckpt"
    with pytest.raises(UserError, match="the checkpoint has averaged weights"):
        trainer(tmp_path).fit(Training(small_vae(), small_training().loss), small_data, ckpt_path=file)
    checkpoint = torch.load(file, weights_only=True)
    checkpoint["moment"]["average"]["raw"].popitem()
    torch.save(checkpoint, file)
    with pytest.raises(UserError, match="belong to another model"):
        trainer(tmp_path).fit(small_training(ema=DECAY), small_data, ckpt_path=file)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("training.ema=1", "training.ema=1: must be less than 1"),
        ("training.ema=-0.1", "training.ema=-0.1: must be greater than or equal to 0"),
        ("+training.emma=0.9", "there is no key training.emma, did you mean training.ema?"),
        ("training=3", "training=3: must have ema"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path, monkeypatch, override, line):
    monkeypatch.chdir(tmp_path)
    answer = call(*TINY, override)
    assert answer.code != 0
    assert line in answer.err


def test_a_run_is_loaded_with_its_averaged_weights(tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    answer = call(*TINY, "training.ema=0.5", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    best = torch.load(tmp_path / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    torch.testing.assert_close(load(tmp_path / "run").state_dict(), best["state_dict"], rtol=0, atol=0)
    raw = best["moment"]["average"]["raw"]
    assert all(not torch.equal(value, best["state_dict"][name]) for name, value in raw.items())
