"""A VAE as people use it from Python: built from parts, trained by a plain Trainer, looked at."""

import csv
import math

import pytest
import torch
from lightning import Callback
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from helpers import digits, small_vae, trainer
from vae_lab.errors import NonFiniteError
from vae_lab.losses import KL, SGVB
from vae_lab.training.loggers import CSV
from vae_lab.training.schedulers import warmup_cosine


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


def test_interpolation_starts_and_ends_at_the_reconstructions(model):
    x1, x2 = torch.rand(2, 1, 28, 28), torch.rand(2, 1, 28, 28)
    walk = model.interpolate(x1, x2, steps=5)
    torch.testing.assert_close(walk[0], model.reconstruct(x1))
    torch.testing.assert_close(walk[-1], model.reconstruct(x2))
    torch.testing.assert_close(walk[1], model.decode(0.75 * model.encode(x1) + 0.25 * model.encode(x2)))


def test_images_are_encoded_in_parts(model, monkeypatch):
    x = torch.rand(7, 1, 28, 28)
    whole = model.encode(x)
    monkeypatch.setattr(model, "encoded_at_once", 3)
    torch.testing.assert_close(model.encode(x), whole)


def test_using_a_model_leaves_no_graph(model):
    assert not model.sample(2).requires_grad
    assert not model.encode(torch.rand(2, 1, 28, 28)).requires_grad


def test_integer_images_of_another_precision_are_taken(model):
    x = (torch.rand(2, 1, 28, 28) > 0.5).double()
    torch.testing.assert_close(model.encode(x), model.encode(x.float()))


@pytest.mark.parametrize("with_labels", [True, False])
def test_a_plain_trainer_with_a_plain_loader_trains_it(tmp_path, with_labels):
    images, labels = digits(320)
    x = images.float() / 255
    data = TensorDataset(x, labels) if with_labels else x
    model = small_vae()
    fit = trainer(tmp_path, max_epochs=8)
    fit.fit(model, DataLoader(data, batch_size=32, shuffle=True))
    nelbo = [row["train/nelbo"] for row in model.history]
    assert len(nelbo) == 8
    assert nelbo[-1] < 0.6 * nelbo[0]


def test_every_parameter_learns(model):
    terms = model.loss(model, torch.rand(8, 1, 28, 28).round())
    terms.nelbo.mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert (parameter.grad != 0).any(), name


def test_figures_are_sums_over_images_divided_by_their_number(tmp_path, small_data):
    model = small_vae(loss=KL())
    test = trainer(tmp_path)
    test.test(model, small_data, verbose=False)  # 70 images in batches of 30, 30, 10
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
        test.test(small_vae(loss=loss), small_data, verbose=False)
        return test.callback_metrics

    torch.testing.assert_close(figures(KL(coeff=coeff)), figures(KL()))


def test_evaluation_is_the_same_each_time_and_leaves_the_random_state(tmp_path, small_data):
    model = small_vae(loss=SGVB())
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
        model = small_vae(loss=KL(coeff=coeff))
        trainer(tmp_path, max_epochs=6).fit(model, small_data)
        ends.append(model.history[-1]["train/kl"])
    assert ends[0] > 2 * ends[1]


def test_the_schedule_is_stepped_with_the_optimiser(tmp_path, small_data):
    model = small_vae(scheduler=lambda o, total_steps: warmup_cosine(o, total_steps, warmup_steps=2))
    trainer(tmp_path, max_epochs=3).fit(model, small_data)
    assert [row["lr"] for row in model.history][-1] == 0
    assert model.history[0]["lr"] > model.history[1]["lr"] > 0


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
        model = small_vae(gradient_clip_val=gradient_clip_val, scheduler=warmup_cosine)
        fit = trainer(tmp_path, callbacks=list(callbacks))
        fit.fit(model, small_data)
        assert fit.global_step == 10
        return model.state_dict()

    listener = Listener()
    torch.testing.assert_close(weights(), weights(listener), rtol=0, atol=0)
    assert listener.steps == 10


def test_a_clipped_gradient_has_at_most_its_norm(tmp_path, small_data):
    model = small_vae(gradient_clip_val=0.01, optimizer=lambda p: torch.optim.SGD(p, lr=1.0))
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    trainer(tmp_path, max_steps=1, max_epochs=None).fit(model, small_data)
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert (after - before).norm().item() == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize(
    ("options", "steps"), [({"max_steps": 23, "max_epochs": -1}, 23), ({"limit_train_batches": 3}, 6)]
)
def test_training_ends_at_the_step_that_is_asked_for(tmp_path, options, steps):
    images, _ = digits(20 * 8)
    model = small_vae()
    fit = trainer(tmp_path, **options)
    fit.fit(model, DataLoader(images.float() / 255, batch_size=8))
    assert fit.global_step == steps
    assert model.history[0]["train/n"] == 8 * min(20, fit.num_training_batches)


def test_validation_happens_after_every_epoch(tmp_path, small_data):
    model = small_vae()
    trainer(tmp_path, max_epochs=3).fit(model, small_data)
    assert [row["val/n"] for row in model.history] == [30, 30, 30]


def test_an_epoch_that_ends_at_the_last_step_is_validated(tmp_path, small_data):
    model = small_vae()
    trainer(tmp_path, max_steps=8, max_epochs=-1).fit(model, small_data)  # five batches an epoch
    assert [row["train/n"] for row in model.history] == [500, 300]
    first, last = (row["val/nelbo"] for row in model.history)
    assert first != last


def test_figures_of_a_validation_stand_in_its_epoch_alone(tmp_path, small_data):
    model, logger = small_vae(), CSV(str(tmp_path))
    trainer(tmp_path, max_epochs=5, check_val_every_n_epoch=2, logger=logger).fit(model, small_data)
    assert ["val/nelbo" in row for row in model.history] == [False, True, False, True, False]
    rows = list(csv.DictReader(logger.file.read_text().splitlines()))
    assert [row["val/nelbo"] != "" for row in rows] == [False, True, False, True, False]


class Poison(nn.Module):
    """A loss that turns NaN at one step."""

    def __init__(self, inner, at):
        super().__init__()
        self.inner, self.at, self.step = inner, at, -1

    def __getattr__(self, name):
        return super().__getattr__(name) if name == "inner" else getattr(super().__getattr__("inner"), name)

    def forward(self, parts, x):
        terms = self.inner(parts, x)
        if parts.training:
            self.step += 1
            if self.step == self.at:
                terms = terms._replace(kl=terms.kl * math.nan)
        return terms


@pytest.mark.parametrize(("at", "where"), [(3, "epoch 0, step 3"), (9, "epoch 1, step 4")])
def test_nan_stops_with_the_step_and_the_term(tmp_path, small_data, at, where):
    model = small_vae()
    model.loss = Poison(KL(), at)
    with pytest.raises(NonFiniteError, match=f"{where}: kl was not finite.*optimizer.lr"):
        trainer(tmp_path).fit(model, small_data)
