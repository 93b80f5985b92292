"""A new run that starts from another run's weights, and a finished run that is to be trained longer."""

import sys

import pytest
import torch
import yaml

import vae_lab
from helpers import TINY, call
from vae_lab.config.build import build_data, build_model, image_shape_of
from vae_lab.config.saved import read_config
from vae_lab.runs.folder import RunFolder
from vae_lab.runs.initial import initial_weights
from vae_lab.tasks import train


@pytest.fixture
def home(tiny_run, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tiny_run.parent)
    return tiny_run.parent


def test_a_new_run_starts_from_the_weights_and_its_criterion_anew(home, monkeypatch):
    started = {}

    def fit(_, training, *__):
        started.update({name: value.clone() for name, value in training.model.state_dict().items()})
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "_fit", fit)
    assert call("again=run", "init_from=run", "trainer.max_epochs=3", "hydra.run.dir=new").code == 130
    before = torch.load(home / "run" / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    torch.testing.assert_close(started, before, rtol=0, atol=0)
    saved = yaml.safe_load((home / "new" / "config.yaml").read_text())
    assert saved["init_from"] == str(home / "run")


def test_it_trains_on_from_there(home):
    answer = call(*TINY, "init_from=run", "optimizer.lr=1e-6", "hydra.run.dir=new")
    assert answer.code == 0, answer.err
    assert "init_from: 8 of 8 tensors" in answer.out
    before, after = (RunFolder(home / name).read_metrics() for name in ("run", "new"))
    assert after["epochs"] == 2
    assert after["best/nelbo"] == pytest.approx(before["best/nelbo"], abs=0.5)


@pytest.mark.parametrize(
    ("words", "reasons"),
    [
        (
            ["hidden_dims=[9]"],
            ["of another shape: encoder.net.0.weight 8×784 for 9×784", "init_strict=false what fits"],
        ),
        (["prior=mixture", "loss=sgvb"], ["missing: prior.", "init_strict=false what fits"]),
        (["encoder=none", "inference=svi"], ["unexpected: encoder.net.0.weight", "again="]),
        (["init_strict=false", "init_from=other"], ["there is no such folder"]),
    ],
)
def test_what_does_not_fit_is_listed_and_nothing_is_left(home, words, reasons):
    answer = call(*TINY, "init_from=run", *words, "hydra.run.dir=new")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert all(reason in answer.err for reason in ["init_from=", *reasons])
    assert not (home / "new").exists()


def test_what_fits_is_taken_where_not_all_must(home):
    folder = RunFolder(home / "run")
    config = read_config(folder)
    config.prior = {"_target_": "vae_lab.priors.Mixture", "latent_dim": 2, "components": 3}
    config.decoder.hidden_dims = [9]
    model = build_model(config, image_shape_of(config, build_data(config)))
    taken, there = initial_weights(folder, model, strict=False), vae_lab.load("run").state_dict()
    assert {name for name in there if name not in taken} == {
        name for name, value in model.state_dict().items() if name in there and value.shape != there[name].shape
    }
    assert {name for name in taken if name.startswith("encoder.")} == {n for n in there if n.startswith("encoder.")}
    assert all((value == there[name]).all() for name, value in taken.items())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["task=estimator_check", "init_from=run"], "task=estimator_check trains nothing"),
        (["init_strict=false"], "says how the weights of init_from=FOLDER must fit"),
        (["resume=run", "init_from=run"], "a run goes on with its own settings"),
    ],
)
def test_where_there_is_nothing_to_start_it_is_refused(home, words, reason):
    (home / "run" / "metrics.json").unlink()
    answer = call(*words, *([] if "resume=run" in words else TINY))
    assert (answer.code, reason in answer.err) == (2, True)


def test_nothing_that_the_other_run_names_is_imported(home):
    (home / "stranger.py").write_text("raise SystemExit(77)\n")
    file = home / "run" / "config.yaml"
    config = yaml.safe_load(file.read_text())
    config["prior"]["_target_"] = "stranger.Prior"
    file.write_text(yaml.safe_dump(config))
    checkpoint = torch.load(home / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    checkpoint["config_sha256"] = RunFolder(home / "run").config_digest()
    torch.save(checkpoint, home / "run" / "checkpoints" / "best.ckpt")
    answer = call(*TINY, "init_from=run", "hydra.run.dir=new")
    assert answer.code == 0, answer.err
    assert "stranger" not in sys.modules


def test_a_finished_run_says_how_it_is_trained_longer(home):  # noqa: ARG001
    answer = call("resume=run", "trainer.max_epochs=9")
    assert answer.code == 2
    assert "has finished, and so has its learning-rate schedule" in answer.err
    assert "again=run init_from=run trainer.max_epochs=N" in answer.err
