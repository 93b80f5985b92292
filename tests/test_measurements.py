"""Sample quality during training: what is measured, when, that it chooses the run, and what is refused."""

import logging

import pytest
import torch

from helpers import digits, trainer
from test_gan import grey_data, small_adversarial  # noqa: F401  # a fixture
from vae_lab.data import MNISTDataModule
from vae_lab.errors import ConfigError, UserError
from vae_lab.evaluation.classifier import classifier
from vae_lab.evaluation.sample_quality import samples_judged
from vae_lab.randomness import fixed_noise
from vae_lab.training.checkpoints import BestCheckpoint
from vae_lab.training.measurements import SampleQuality


def fitted(folder, data, epochs=2, **options):
    training = small_adversarial()
    fit = trainer(
        folder, max_epochs=epochs, enable_checkpointing=True, callbacks=[SampleQuality(**options), BestCheckpoint()]
    )
    fit.fit(training, data)
    return fit, training


def test_the_figures_are_those_that_an_evaluation_finds(tmp_path, grey_data):  # noqa: F811
    fit, training = fitted(tmp_path, grey_data)
    (found,) = fit.test(training, grey_data, verbose=False)
    images, labels = digits(530)
    net = classifier(tmp_path / "MNIST" / "classifier.pt", images, labels, 10)
    with fixed_noise(0, torch.device("cpu")), torch.no_grad():
        drawn = training.model.sample(70)
    expected, _ = samples_judged(net, drawn, digits(70)[0], images, copies=5)
    for name in SampleQuality.measures:
        assert found[f"test/{name}"] == pytest.approx(expected[name], rel=1e-4)


def test_an_epoch_without_a_measurement_keeps_the_latest_and_the_best_is_one_that_was_measured(tmp_path, grey_data):  # noqa: F811
    fit, training = fitted(tmp_path, grey_data, epochs=6, every_n_epochs=2)
    rows = training.model.history
    measured = {row["epoch"]: row["val/frechet_distance"] for row in rows if "val/frechet_distance" in row}
    assert sorted(measured) == [0, 2, 4, 5]
    assert all("val/d_real" in row for row in rows)
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    assert measured[best["epoch"]] == min(measured.values())
    assert fit.callback_metrics["criterion"] == pytest.approx(rows[-1]["val/frechet_distance"])


def test_measuring_changes_nothing_of_training(tmp_path, grey_data):  # noqa: F811
    ends = []
    for every in (1, 100):
        torch.manual_seed(0)
        ends.append(fitted(tmp_path / str(every), grey_data, epochs=3, every_n_epochs=every)[1].state_dict())
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_samples_of_few_labels_are_noticed_at_the_second_time(tmp_path, grey_data, caplog):  # noqa: F811
    with caplog.at_level(logging.WARNING):
        fitted(tmp_path, grey_data, epochs=3, least_balance=1.5)
    lines = [record.getMessage() for record in caplog.records if "few labels" in record.getMessage()]
    assert [line.partition(":")[0] for line in lines] == ["epoch 2", "epoch 3"]
    assert "Try loss.kind=hinge" in lines[0]
    caplog.clear()
    fitted(tmp_path / "again", grey_data, epochs=3, least_balance=0)
    assert "few labels" not in caplog.text


def test_bits_and_images_without_labels_are_refused(tmp_path, grey_data):  # noqa: F811
    with pytest.raises(ConfigError, match=r"data.binarization=dynamic: samples are grey levels"):
        fitted(tmp_path, MNISTDataModule(root=str(tmp_path), batch_size=100, validation=30))
    grey_data.labels = None
    with pytest.raises(ConfigError, match=r"data=mnist: samples are judged by a classifier of its labels"):
        fitted(tmp_path, grey_data)
    with pytest.raises(UserError, match="SampleQuality needs a data module"):
        trainer(tmp_path, callbacks=[SampleQuality()]).fit(small_adversarial(), torch.rand(8, 1, 28, 28).split(4))
