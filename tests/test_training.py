"""The LightningModule: a plain Trainer trains a model with a loss."""

import csv
import math
from itertools import pairwise

import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import digits, small_training, small_vae, trainer
from vae_lab.errors import NonFiniteError
from vae_lab.losses import KL, SGVB, Loss, Outcome, Stage
from vae_lab.models import Model
from vae_lab.tasks.summary import best_of, table
from vae_lab.training.checkpoints import BestCheckpoint
from vae_lab.training.loggers import CSV
from vae_lab.training.module import Training
from vae_lab.training.schedulers import warmup_cosine


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_plain_trainer_with_a_plain_loader_trains_it(tmp_path, with_labels):
    images, labels = digits(320)
    x = images.float() / 255
    data = TensorDataset(x, labels) if with_labels else x
    model = small_vae()
    fit = trainer(tmp_path, max_epochs=8)
    fit.fit(Training(model, KL()), DataLoader(data, batch_size=32, shuffle=True))
    nelbo = [row["train/nelbo"] for row in model.history]
    assert len(nelbo) == 8
    assert nelbo[-1] < 0.6 * nelbo[0]


def test_figures_are_sums_over_images_divided_by_their_number(tmp_path, small_data):
    model = small_vae()
    test = trainer(tmp_path)
    test.test(Training(model, SGVB()), small_data, verbose=False)  # 70 images in batches of 30, 30, 10
    x = small_data.test_images
    q, p = model.encoder(x), model.prior()
    expected = torch.distributions.kl_divergence(q, p).mean()
    torch.testing.assert_close(test.callback_metrics["test/kl"], expected, rtol=1e-6, atol=0)
    assert test.callback_metrics["test/n"] == 70
    parts = test.callback_metrics["test/kl"] + test.callback_metrics["test/reconstruction"]
    torch.testing.assert_close(test.callback_metrics["test/nelbo"], parts)


@pytest.mark.parametrize("coeff", [0.0, 0.3, 7.0])
def test_validation_and_test_are_at_coeff_one(tmp_path, small_data, coeff):
    def figures(loss):
        torch.manual_seed(5)
        test = trainer(tmp_path)
        test.test(small_training(loss=loss), small_data, verbose=False)
        return test.callback_metrics

    torch.testing.assert_close(figures(KL(coeff=coeff)), figures(KL()))


def test_evaluation_is_the_same_each_time_and_leaves_the_random_state(tmp_path, small_data):
    model = small_training(loss=SGVB())
    test = trainer(tmp_path)
    state = torch.get_rng_state()
    test.test(model, small_data, verbose=False)
    assert torch.equal(state, torch.get_rng_state())
    first = dict(test.callback_metrics)
    torch.rand(5)
    test.test(model, small_data, verbose=False)
    torch.testing.assert_close(first, dict(test.callback_metrics), rtol=0, atol=0)


def test_coeff_zero_lets_the_kl_go(tmp_path, small_data):
    ends = []
    for coeff in (0.0, 10.0):
        training = small_training(loss=KL(coeff=coeff))
        trainer(tmp_path, max_epochs=6).fit(training, small_data)
        ends.append(training.model.history[-1]["train/kl"])
    assert ends[0] > 2 * ends[1]


def test_the_schedule_is_stepped_with_the_optimiser(tmp_path, small_data):
    model = small_training(scheduler=lambda o, total_steps: warmup_cosine(o, total_steps, warmup_steps=2))
    trainer(tmp_path, max_epochs=3).fit(model, small_data)
    assert [row["lr"] for row in model.model.history][-1] == 0
    assert model.model.history[0]["lr"] > model.model.history[1]["lr"] > 0


class Listener(Callback):
    """Has something to do within a step, so that all of Lightning's hooks are called."""

    def __init__(self):
        self.steps = 0

    def on_before_optimizer_step(self, *_):
        self.steps += 1


@pytest.mark.parametrize("gradient_clip_val", [None, 0.5])
def test_quick_steps_are_the_steps_that_callbacks_hear(tmp_path, small_data, gradient_clip_val):
    def weights(*callbacks):
        torch.manual_seed(3)
        model = small_training(gradient_clip_val=gradient_clip_val, scheduler=warmup_cosine)
        fit = trainer(tmp_path, callbacks=list(callbacks))
        fit.fit(model, small_data)
        assert fit.global_step == 10
        return model.state_dict()

    listener = Listener()
    torch.testing.assert_close(weights(), weights(listener), rtol=0, atol=0)
    assert listener.steps == 10


def test_a_clipped_gradient_has_at_most_its_norm(tmp_path, small_data):
    model = small_training(gradient_clip_val=0.01, optimizer=lambda p: torch.optim.SGD(p, lr=1.0))
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    trainer(tmp_path, max_steps=1, max_epochs=None).fit(model, small_data)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "steps"), [({"max_steps": 23, "max_epochs": -1}, 23), ({"limit_train_batches": 3}, 6)]
)
def test_training_ends_at_the_requested_step(tmp_path, options, steps):
    images, _ = digits(20 * 8)
    model = small_training()
    fit = trainer(tmp_path, **options)
    fit.fit(model, DataLoader(images.float() / 255, batch_size=8))
    assert fit.global_step == steps
    assert model.model.history[0]["train/n"] == 8 * min(20, fit.num_training_batches)


def test_validation_happens_after_every_epoch(tmp_path, small_data):
    model = small_training()
    trainer(tmp_path, max_epochs=3).fit(model, small_data)
    assert [row["val/n"] for row in model.model.history] == [30, 30, 30]


def test_an_epoch_that_ends_at_the_last_step_is_validated(tmp_path, small_data):
    model = small_training()
    trainer(tmp_path, max_steps=8, max_epochs=-1).fit(model, small_data)  # five batches an epoch
    assert [row["train/n"] for row in model.model.history] == [500, 300]
    first, last = (row["val/nelbo"] for row in model.model.history)
    assert first != last


def test_figures_of_a_validation_stand_in_its_epoch_alone(tmp_path, small_data):
    model, logger = small_training(), CSV(str(tmp_path))
    trainer(tmp_path, max_epochs=5, check_val_every_n_epoch=2, logger=logger).fit(model, small_data)
    assert ["val/nelbo" in row for row in model.model.history] == [False, True, False, True, False]
    rows = list(csv.DictReader(logger.file.read_text().splitlines()))
    assert [row["val/nelbo"] != "" for row in rows] == [False, True, False, True, False]


class Poison(KL):
    """A loss that turns NaN at one step."""

    def __init__(self, at):
        super().__init__()
        self.at, self.step = at, -1

    def kls(self, draws):
        self.step += 1
        return [kl * (math.nan if self.step == self.at else 1) for kl in super().kls(draws)]

    def check(self, model):
        pass


@pytest.mark.parametrize(("at", "where"), [(3, "epoch 0, step 3"), (9, "epoch 1, step 4")])
def test_nan_stops_with_the_step_and_the_term(tmp_path, small_data, at, where):
    with pytest.raises(NonFiniteError, match=f"{where}: kl was not finite.*optimizer.lr"):
        trainer(tmp_path).fit(small_training(loss=Poison(at)), small_data)


class Adversarial(Loss):
    """Two stages: the encoder and the decoder each minimise something of their own."""

    def stages(self, model):
        return [Stage("encoder", list(model.encoder.parameters())), Stage("decoder", list(model.decoder.parameters()))]

    def forward(self, model, x, weight=1.0, stage="encoder"):  # noqa: ARG002
        terms = model.draw(model.infer(x), x, 1).terms()
        name = {"encoder": "kl", "decoder": "reconstruction"}[stage]
        return Outcome(terms[name].mean(), {name: terms[name]} if stage == "encoder" else terms)


def test_each_stage_changes_its_own_parameters_only(tmp_path, small_data):
    class Watched(Adversarial):
        def forward(self, model, x, weight=1.0, stage="encoder"):
            now = {
                part: [p.detach().clone() for p in getattr(model, part).parameters()] for part in ("encoder", "decoder")
            }
            self.seen.append((stage, now))
            return super().forward(model, x, weight, stage)

    loss = Watched()
    loss.seen = []
    fit = trainer(tmp_path, max_epochs=1, limit_val_batches=0)
    fit.fit(small_training(loss=loss), small_data)
    assert fit.global_step == 5  # a step of both stages counts as one
    for (stage, before), (_, after) in pairwise(loss.seen):
        other = {"encoder": "decoder", "decoder": "encoder"}[stage]
        assert all(torch.equal(a, b) for a, b in zip(before[other], after[other], strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(before[stage], after[stage], strict=True))


@pytest.mark.parametrize("callbacks", [False, True])
def test_several_stages_end_at_the_requested_step(tmp_path, small_data, callbacks):
    fit = trainer(tmp_path, max_steps=8, max_epochs=-1, callbacks=[Listener()] if callbacks else [])
    training = small_training(loss=Adversarial())
    fit.fit(training, small_data)
    assert fit.global_step == 8
    assert [row["train/n"] for row in training.model.history] == [500, 300]


def test_a_loss_with_parameters_is_refused():
    loss = KL()
    loss.temperature = nn.Parameter(torch.ones(1))
    with pytest.raises(ValueError, match="nothing would train the parameters of a loss"):
        small_training(loss=loss)


def test_a_checkpoint_holds_the_model_under_its_own_names():
    training = small_training()
    assert training.state_dict().keys() == training.model.state_dict().keys()


class Distance(Model):
    """A model of another criterion: one image, and its squared distance to the data."""

    criterion = "distance"

    def __init__(self):
        super().__init__((1, 28, 28))
        self.image = nn.Parameter(torch.zeros(1, 28, 28))

    def measure(self, x):
        return {"distance": (x - self.image).square().sum((1, 2, 3))}


class ToImages(Loss):
    def forward(self, model, x, weight=1.0, stage="model"):  # noqa: ARG002
        figures = model.measure(x)
        return Outcome(figures["distance"].mean(), figures)


def test_runs_are_chosen_by_the_models_criterion(tmp_path, small_data):
    model, best = Distance(), BestCheckpoint()
    stopping = EarlyStopping("criterion", patience=1, min_delta=1e9, check_on_train_epoch_end=True)
    fit = trainer(tmp_path, max_epochs=9, callbacks=[best, stopping], enable_checkpointing=True)
    fit.fit(Training(model, ToImages()), small_data)
    assert len(model.history) == 2  # stopped: no epoch is better by so much
    assert best.monitor == "distance"
    assert best.best_model_score.item() == pytest.approx(min(row["val/distance"] for row in model.history))
    assert (tmp_path / "checkpoints" / "best.ckpt").exists()
    found = best_of(model)
    assert found["best/distance"] == found["best/val/distance"] == pytest.approx(best.best_model_score.item())
    fit.test(Training(model, ToImages()), small_data, verbose=False)
    shown = table({"criterion": "distance", "test/distance": 1.5, "test/n": 70, **found}, tmp_path)
    assert "test distance            1.50   70 images" in shown


class OfTheSet(Callback):
    """Measures a figure of the whole validation set, as a Fréchet distance is one."""

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.measured["frechet_distance"] = 10.0 - trainer.current_epoch


def test_runs_are_chosen_by_a_figure_that_a_callback_measures_of_a_whole_set(tmp_path, small_data):
    training, best = small_training(), BestCheckpoint()
    training.model.criterion = "frechet_distance"
    fit = trainer(tmp_path, max_epochs=3, callbacks=[OfTheSet(), best], enable_checkpointing=True)
    fit.fit(training, small_data)
    assert [row["val/frechet_distance"] for row in training.model.history] == [10, 9, 8]
    assert best.best_model_score.item() == 8


def test_a_criterion_that_nothing_measures_is_said(tmp_path, small_data):
    training = small_training()
    training.model.criterion = "frechet_distance"
    with pytest.raises(ValueError, match="chosen by frechet_distance, which nothing measures; there are train/kl"):
        trainer(tmp_path, max_epochs=1).fit(training, small_data)


def test_the_weight_of_the_kl_climbs_step_by_step(tmp_path, small_data):
    seen = []

    class Watched(KL):
        def forward(self, model, x, weight=None, stage="model"):
            seen.append(float(weight))
            return super().forward(model, x, weight, stage)

    trainer(tmp_path, max_epochs=2).fit(small_training(loss=Watched(coeff=2.0, warmup_epochs=1)), small_data)
    assert seen == pytest.approx([0, 0.4, 0.8, 1.2, 1.6, *[2] * 5])
