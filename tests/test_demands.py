"""What any Trainer may ask of the training: it has its effect, or it is refused with a sentence when fitting starts."""

from datetime import timedelta

import pytest
import torch
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateFinder,
    ModelCheckpoint,
    StochasticWeightAveraging,
    Timer,
    TQDMProgressBar,
)
from torch.utils.data import DataLoader, IterableDataset

from helpers import Follower, digits, small_training, small_vae, trainer
from vae_lab.data import MNISTDataModule
from vae_lab.errors import NotOffered, UserError
from vae_lab.losses import SGVB
from vae_lab.models import VAE
from vae_lab.training.callbacks import BestCheckpoint, LastCheckpoint, Reconstructions
from vae_lab.training.module import Training
from vae_lab.training.progress import Clock, ProgressBar
from vae_lab.training.signals import Interruption


def test_a_callback_that_follows_the_batches_sees_each_and_changes_nothing(tmp_path, small_data):
    def trained(*callbacks):
        torch.manual_seed(3)
        training = small_training(loss=SGVB())
        trainer(tmp_path, callbacks=list(callbacks)).fit(training, small_data)
        return training.state_dict(), training.model.history

    follower = Follower()
    torch.testing.assert_close(trained(), trained(follower), rtol=0, atol=0)
    assert follower.seen == [(step % 5, step, 100) for step in range(10)]


def modes_of(training: Training) -> list[bool]:
    """Whether each call of training_step was one step, as it will be noted."""
    modes, take = [], training._step_taker
    training._step_taker = lambda: modes.append(training.one_at_a_time) or take()
    return modes


@pytest.mark.parametrize(
    ("callback", "one"),
    [
        (lambda _: Reconstructions(every_n_epochs=1), False),
        (lambda _: LastCheckpoint(every_n_steps=3), False),
        (lambda _: BestCheckpoint(), False),
        (Interruption, False),
        (lambda _: Clock(), False),
        (lambda _: ProgressBar(), False),
        (lambda _: TQDMProgressBar(), False),
        (lambda _: Timer("00:01:00:00"), False),
        (lambda _: ModelCheckpoint(), False),
        (lambda _: ModelCheckpoint(every_n_train_steps=3), True),
        (lambda _: EMAWeightAveraging(), True),
        (lambda _: Follower(), True),
        (lambda _: LambdaCallback(on_train_batch_start=lambda *_: None), True),
        (lambda _: LambdaCallback(on_train_epoch_end=lambda *_: None), False),
    ],
)
def test_one_step_a_call_only_where_a_callback_needs_it(tmp_path, small_data, callback, one):
    training = small_training()
    modes = modes_of(training)
    fit = trainer(
        tmp_path, callbacks=[callback(training)], enable_checkpointing=True, enable_progress_bar=True, max_epochs=1
    )
    fit.fit(training, small_data)
    assert modes == ([True] * 5 if one else [False])


class Transferring(MNISTDataModule):
    moved = 0

    def on_after_batch_transfer(self, batch, dataloader_idx):  # noqa: ARG002
        self.moved += 1
        return 1 - batch[0], batch[1]


def test_a_data_module_may_change_batches_on_their_way(tmp_path, small_files):  # noqa: ARG001
    data, training = Transferring(batch_size=100, validation=30), small_training()
    trainer(tmp_path, max_epochs=1).fit(training, data)
    assert data.moved == 6  # five batches of training, one of validation


def test_a_checkpoint_by_steps_is_written(tmp_path, small_data):
    by_steps = ModelCheckpoint(every_n_train_steps=3, save_top_k=-1)
    trainer(tmp_path, callbacks=[by_steps], enable_checkpointing=True).fit(small_training(), small_data)
    assert sorted(file.stem for file in tmp_path.rglob("*.ckpt")) == [
        "epoch=0-step=3",
        "epoch=1-step=6",
        "epoch=1-step=9",
    ]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"val_check_interval": 0.4}, [2, 4, 7, 9]),
        ({"val_check_interval": 1}, list(range(1, 11))),
        ({"val_check_interval": 3, "check_val_every_n_epoch": None}, [3, 6, 9]),
        ({"val_check_interval": timedelta(microseconds=1)}, list(range(1, 11))),
        ({"check_val_every_n_epoch": 2}, [10]),
        ({}, [5, 10]),
    ],
)
def test_validation_comes_when_it_is_asked_for(tmp_path, small_data, options, steps):
    came = []
    note = LambdaCallback(on_validation_end=lambda trainer, _: came.append(trainer.global_step))
    trainer(tmp_path, callbacks=[note], **options).fit(small_training(), small_data)
    assert came == steps


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"gradient_clip_val": 0.5}, r"gradient_clip_val=0.5\): .*Training\(…, gradient_clip_val=0.5\)"),
        ({"accumulate_grad_batches": 2}, r"accumulate_grad_batches=2\): .*batch_size"),
        ({"callbacks": [GradientAccumulationScheduler({0: 2})]}, "GradientAccumulationScheduler: .*batch_size"),
        ({"callbacks": [ModelCheckpoint(train_time_interval=timedelta(1))]}, "LastCheckpoint"),
        ({"callbacks": [StochasticWeightAveraging(1e-3)]}, "StochasticWeightAveraging: .*WeightAveraging serves"),
        ({"callbacks": [LearningRateFinder()]}, "LearningRateFinder: the learning rate is the optimiser's"),
        ({"callbacks": [BatchSizeFinder()]}, "BatchSizeFinder: .*set batch_size"),
    ],
)
def test_what_cannot_have_its_effect_is_refused_when_fitting_starts(tmp_path, small_data, options, said):
    training = small_training()
    fit = trainer(tmp_path, enable_checkpointing=True, **options)
    with pytest.raises(UserError, match=said):
        fit.fit(training, small_data)
    assert not training.model.history


def test_an_argument_of_fitting_has_no_part_in_a_test(tmp_path, small_data):
    (figures,) = trainer(tmp_path, gradient_clip_val=0.5).test(small_training(), small_data, verbose=False)
    assert figures["test/n"] == 70


def test_a_schedule_without_an_end_is_refused(tmp_path, small_data):
    training = small_training(scheduler=lambda o, total_steps: torch.optim.lr_scheduler.LinearLR(o, 1, 0, total_steps))
    with pytest.raises(UserError, match="max_epochs or max_steps"):
        trainer(tmp_path, max_epochs=-1).fit(training, small_data)


class Stream(IterableDataset):
    """Images without a number, and with a first value that nobody would call an image's length."""

    def __iter__(self):
        return iter(digits(60)[0].float() / 255)


@pytest.mark.parametrize("callbacks", [[], [Follower()]])
def test_a_stream_of_unknown_length_is_trained_on(tmp_path, callbacks):
    training = small_training()
    trainer(tmp_path, callbacks=callbacks).fit(training, DataLoader(Stream(), batch_size=20))
    assert [row["train/n"] for row in training.model.history] == [60, 60]


# --- what people look for --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda training, x, _: training.model(x), "encode"),
        (lambda training, x, _: training(x), "log_prob"),
        (lambda training, x, run: run.predict(training, DataLoader(x, batch_size=4)), "reconstruct"),
        (lambda training, *_: training.to_onnx("file"), r"model.export\(FOLDER\)"),
        (lambda training, *_: training.model.to_onnx("file"), r"model.export\(FOLDER\)"),
        (lambda training, *_: training.to_torchscript(), r"model.export\(FOLDER\)"),
        (lambda *_: VAE.load_from_checkpoint("file"), "vae_lab.load"),
        (lambda *_: VAE.load_from_checkpoint("file", encoder=None), "Training.load_from_checkpoint"),
        (lambda *_: Training.load_from_checkpoint("file"), "model=model, loss=loss"),
    ],
)
def test_what_a_model_does_not_have_points_to_what_serves(tmp_path, ask, said):
    with pytest.raises(NotOffered, match=said):
        ask(small_training(), torch.rand(4, 1, 28, 28), trainer(tmp_path))


def test_the_networks_are_exported():
    model = small_vae()
    exported = torch.export.export(model.decoder.net, (torch.zeros(1, 2),)).module()
    torch.testing.assert_close(exported(torch.ones(1, 2)), model.decoder.net(torch.ones(1, 2)))


@pytest.mark.parametrize("samples", [0, -1])
def test_a_loss_draws_at_least_once(samples):
    with pytest.raises(ValueError, match="samples must be at least 1"):
        SGVB(samples=samples)
