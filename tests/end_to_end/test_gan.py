"""A GAN from the command line: train, evaluate, load, sweep, and one line for what does not fit."""

import json
from pathlib import Path

import pytest

from helpers import call
from vae_lab.config.saved import load
from vae_lab.models import GAN

TINY = (
    "model=gan",
    "latent_dim=2",
    "hidden_dims=[8]",
    "data.batch_size=32",
    "data.validation=30",
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=2",
)


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "data"))  # the classifier is kept there


def test_a_run_its_evaluation_and_its_model():
    answer = call(*TINY, "callbacks.latent_grid.n=4", "callbacks.samples.rows=2", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "test Fréchet distance" in answer.out
    assert "reconstructions: left out, GAN does not have an encoder" in answer.out
    figures = {file.stem for file in Path("run/figures").iterdir()}
    assert figures == {
        "samples",
        "real_images",
        "interpolation",
        "latent_grid",
        "discriminator_outputs",
        "frechet_distance",
    }
    before = json.loads(Path("run/metrics.json").read_text())
    assert before["criterion"] == "frechet_distance"
    assert before["best/frechet_distance"] == before["best/val/frechet_distance"]
    assert "is_likelihood" not in before
    answer = call("task=evaluate", "run_dir=run", "evaluation.samples=70", "trainer.accelerator=cpu")
    assert answer.code == 0, answer.err
    after = json.loads(Path("run/metrics.json").read_text())
    assert after["test/frechet_distance"] == pytest.approx(before["test/frechet_distance"])
    assert after["judge/frechet_distance"] == pytest.approx(before["test/frechet_distance"], rel=1e-4)
    assert {f"judge/{name}" for name in ("precision", "recall", "recall_of_training_images")} <= after.keys()
    model = load("run")
    assert isinstance(model, GAN)
    assert model.sample(2).shape == (2, 1, 28, 28)
    assert len(model.history) == 2


@pytest.mark.slow
def test_a_sweep_is_ordered_by_the_criterion():
    answer = call("-m", *TINY, "callbacks=none", "loss.kind=hinge,wasserstein", "sweep_dir=sweep")
    assert answer.code == 0, answer.err
    assert "validation Fréchet distance" in answer.out
    assert "Fréchet distance" in Path("sweep/report.html").read_text()


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("data.binarization=dynamic", "data.binarization=dynamic: samples are grey levels"),
        (
            "callbacks.quality=null",
            "callbacks.quality=None: is required: runs of GAN are chosen by the Fréchet",
        ),
        ("data.validation=none", "data.validation=none: must leave some images"),
        ("trainer.limit_val_batches=0", "trainer.limit_val_batches=0: must leave some images"),
        ("prior=mixture", "prior=Mixture: has parameters that change no image"),
        ("decoder.masked_kernel=3", "decoder=MLPDecoder: its images have no mean"),
        ("loss=kl", "GAN does not have"),
        ("encoder=mlp", "encoder=mlp: model=gan takes no encoder"),
        ("loss.kind=wgan", "loss.kind=wgan: must be 'non_saturating', 'hinge' or 'wasserstein'"),
        ("discriminator=none", "discriminator"),
    ],
)
def test_what_does_not_fit_is_one_line(override, line):
    answer = call(*TINY, override, "hydra.run.dir=run")
    assert (answer.code, answer.out) == (2, "")
    assert line in answer.err
    assert len(answer.err.splitlines()) == 1


def test_a_vae_takes_no_discriminator_and_no_adversarial_loss():
    for override, line in (
        ("discriminator=mlp", "discriminator=mlp: model=vae takes no discriminator"),
        ("loss=adversarial", "VAE has no discriminator; loss=adversarial is that of model=gan"),
    ):
        answer = call(override, "data.validation=30", "hydra.run.dir=run")
        assert answer.code == 2
        assert line in answer.err
