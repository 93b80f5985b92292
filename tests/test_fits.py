"""One fit after another: which figures belong to which epoch, what goes on from a checkpoint, and what starts again."""

import csv

import pytest
import torch
from lightning.pytorch.callbacks import LambdaCallback, LearningRateMonitor
from lightning.pytorch.loggers import CSVLogger
from torch.utils.data import DataLoader

from helpers import SHAPE, Follower, small_training, small_vae, trainer
from vae_lab.losses import KL, SGVB
from vae_lab.training.callbacks import BestCheckpoint, LastCheckpoint
from vae_lab.training.loggers import CSV, TensorBoard
from vae_lab.training.module import Training

# --- what figures belong to which epoch ------------------------------------------------------------------------


def test_the_untrained_model_of_the_sanity_check_is_no_epoch(tmp_path, small_data):
    training, best = small_training(), BestCheckpoint()
    options = {"num_sanity_val_steps": 2, "check_val_every_n_epoch": 2, "max_epochs": 5}
    trainer(tmp_path, callbacks=[best], enable_checkpointing=True, **options).fit(training, small_data)
    rows = training.model.history
    assert ["val/nelbo" in row for row in rows] == [False, True, False, True, False]
    assert best.best_model_score.item() == pytest.approx(min(rows[1]["val/nelbo"], rows[3]["val/nelbo"]))


def test_a_figure_of_training_does_not_beat_those_of_validation(tmp_path, small_data):
    """Epoch 0 has a lower figure of training than any of validation, since it is measured on easier images."""
    training, best = small_training(), BestCheckpoint()
    training.model.start_at(torch.full(SHAPE, 0.05))
    easy = DataLoader(torch.zeros(100, 1, 28, 28), batch_size=20)
    options = {"check_val_every_n_epoch": 2, "max_epochs": 4, "callbacks": [best], "enable_checkpointing": True}
    small_data.setup()
    trainer(tmp_path, **options).fit(training, easy, small_data.val_dataloader())
    rows = training.model.history
    assert rows[0]["train/nelbo"] < min(rows[1]["val/nelbo"], rows[3]["val/nelbo"])
    assert best.best_model_score.item() == pytest.approx(min(rows[1]["val/nelbo"], rows[3]["val/nelbo"]))


@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_call_that_failed_leaves_no_sums(tmp_path, small_data, stage):
    training = small_training()
    measure, calls = training.model.measure, []

    def failing(x):
        calls.append(1)
        if len(calls) == 2:
            raise KeyError("of this call")
        return measure(x)

    training.model.measure = failing
    callbacks = [Follower(fail_at=3)] if stage == "fit" else []
    small_data.eval_batch_size = 10
    with pytest.raises(KeyError):
        getattr(trainer(tmp_path, callbacks=callbacks), stage)(training, small_data)
    training.model.measure = measure
    trainer(tmp_path).fit(training, small_data)
    assert [(row["train/n"], row["val/n"]) for row in training.model.history] == [(500, 30), (500, 30)]
    (figures,) = trainer(tmp_path).test(training, small_data, verbose=False)
    assert figures["test/n"] == 70


@pytest.mark.parametrize("stage", ["validate", "test"])
@pytest.mark.parametrize("logged", [True, False])
def test_a_trainer_returns_what_it_measured_and_writes_no_row_of_it(tmp_path, small_data, stage, logged):
    ours, theirs = CSV(str(tmp_path)), CSVLogger(str(tmp_path), version=1)
    run = trainer(tmp_path, logger=[ours, TensorBoard(str(tmp_path)), theirs] if logged else False)
    (figures,) = getattr(run, stage)(small_training(), small_data, verbose=False)
    prefix = {"validate": "val", "test": "test"}[stage]
    assert figures.keys() == {f"{prefix}/{name}" for name in ("nelbo", "kl", "reconstruction", "n")}
    assert figures[f"{prefix}/nelbo"] == pytest.approx(figures[f"{prefix}/kl"] + figures[f"{prefix}/reconstruction"])
    assert not ours.file.exists()
    if logged:
        written = (tmp_path / "lightning_logs" / "version_1" / "metrics.csv").read_text()
        rows = list(csv.DictReader(written.splitlines()))
        assert float(rows[0][f"{prefix}/nelbo"]) == pytest.approx(figures[f"{prefix}/nelbo"])


def test_a_monitor_of_steps_adds_no_rows_to_the_epochs(tmp_path, small_data):
    logger = CSV(str(tmp_path))
    monitor = LearningRateMonitor("step")
    trainer(tmp_path, callbacks=[monitor], logger=logger, log_every_n_steps=1).fit(small_training(), small_data)
    assert [row["epoch"] for row in csv.DictReader(logger.file.read_text().splitlines())] == ["0", "1"]


# --- going on, and starting again ------------------------------------------------------------------------------


def cut_off(folder, data, at: int) -> str:
    torch.manual_seed(3)
    with pytest.raises(KeyError):
        trainer(folder, max_epochs=3, callbacks=[Follower(fail_at=at)]).fit(small_training(loss=SGVB()), data)
    return str(folder / "cut_off.ckpt")


@pytest.mark.parametrize("at", [5, 7, 13])
@pytest.mark.parametrize("followed", [True, False])
def test_a_fit_goes_on_from_a_step_to_the_same_end(tmp_path, small_data, at, followed):
    torch.manual_seed(3)
    whole = small_training(loss=SGVB())
    trainer(tmp_path, max_epochs=3).fit(whole, small_data)
    file = cut_off(tmp_path, small_data, at)
    torch.manual_seed(8)
    resumed = small_training(loss=SGVB())
    trainer(tmp_path, max_epochs=3, callbacks=[Follower()] if followed else []).fit(resumed, small_data, ckpt_path=file)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)
    assert resumed.model.history == whole.model.history


def test_a_resumed_fit_that_is_cut_off_again_loses_nothing(tmp_path, small_data):
    """A checkpoint that is written while batches are skipped is still one of the moment to come."""
    torch.manual_seed(3)
    whole = small_training(loss=SGVB())
    trainer(tmp_path, max_epochs=3).fit(whole, small_data)
    file = cut_off(tmp_path, small_data, 8)
    with pytest.raises(KeyError):  # it is at step 8 from the first skipped batch on
        trainer(tmp_path, max_epochs=3, callbacks=[Follower(fail_at=8)]).fit(
            small_training(loss=SGVB()), small_data, ckpt_path=file
        )
    resumed = small_training(loss=SGVB())
    trainer(tmp_path, max_epochs=3).fit(resumed, small_data, ckpt_path=file)
    torch.testing.assert_close(resumed.state_dict(), whole.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("at", [5, 7])
def test_fine_tuning_from_a_checkpoint_is_a_new_training(tmp_path, small_data, at):
    file = cut_off(tmp_path, small_data, at)
    weights = torch.load(file, weights_only=True)["state_dict"]
    training = Training.load_from_checkpoint(file, model=small_vae(), loss=KL())
    torch.testing.assert_close(training.state_dict(), weights, rtol=0, atol=0)
    before = len(training.model.history)
    state = torch.get_rng_state()
    frozen = LambdaCallback(on_train_start=lambda *_: drawn.append(torch.get_rng_state()))
    drawn = []
    fit = trainer(tmp_path, callbacks=[frozen])
    fit.fit(training, small_data)
    assert fit.global_step == 10
    assert [row["train/n"] for row in training.model.history[before:]] == [500, 500]
    assert torch.equal(drawn[0], state)


def test_fine_tuning_after_an_early_stop_makes_its_steps(tmp_path, small_data):
    stop = LambdaCallback(on_train_epoch_end=lambda trainer, _: setattr(trainer, "should_stop", True))
    last = LastCheckpoint()
    trainer(tmp_path, max_epochs=9, callbacks=[stop, last], enable_checkpointing=True).fit(small_training(), small_data)
    training = Training.load_from_checkpoint(tmp_path / "checkpoints" / "last.ckpt", model=small_vae(), loss=KL())
    fit = trainer(tmp_path)
    fit.fit(training, small_data)
    assert fit.global_step == 10


def test_a_tested_checkpoint_is_not_resumed_by_the_next_fit(tmp_path, small_data):
    file = cut_off(tmp_path, small_data, 7)
    training = small_training()
    trainer(tmp_path).test(training, small_data, ckpt_path=file, verbose=False)
    fit = trainer(tmp_path)
    fit.fit(training, small_data)
    assert fit.global_step == 10
