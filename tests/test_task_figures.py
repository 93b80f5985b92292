"""task=figures: a finished run's figures again, and what may be said of them; task=estimator_check of a trained run."""

import json

import pytest
from matplotlib.image import imread
from omegaconf import OmegaConf

from helpers import TINY, call

pytestmark = pytest.mark.usefixtures("small_files")


def files(run):
    """The files of a run with their content, without its log."""
    return {str(f.relative_to(run)): f.read_bytes() for f in run.rglob("*") if f.is_file() and f.name != "run.log"}


def drawn(run):
    return {file.name for file in (run / "figures").iterdir()}


def test_the_same_figures_are_drawn_again_and_nothing_else_changes(tiny_run):
    before = files(tiny_run)
    answer = call("task=figures", f"run_dir={tiny_run}", "figures.only=[nelbo]")
    assert (answer.code, answer.err) == (0, "")
    assert "figures/nelbo.png: nelbo" in answer.out
    assert files(tiny_run) == before


def test_figures_that_the_run_left_out_are_drawn_with_the_commands_settings(tiny_run):
    only = "figures.only=[latent_grid,samples]"
    answer = call("task=figures", f"run_dir={tiny_run}", only, "callbacks.latent_grid.n=3", "callbacks.samples.rows=1")
    assert (answer.code, answer.err) == (0, "")
    assert drawn(tiny_run) == {"nelbo.png", "latent_grid.png", "samples.png"}
    assert b"latent_grid n=3 reach=2.0 spacing=linear" in (tiny_run / "figures" / "latent_grid.png").read_bytes()
    assert "latent_grid n=3" in (tiny_run / "run.log").read_text()


def test_the_runs_own_settings_stay_where_the_command_names_no_others(tiny_run):
    config = OmegaConf.load(tiny_run / "config.yaml")
    grid = {"_target_": "vae_lab.training.callbacks.LatentGrid", "n": 4, "reach": 1.5, "every_n_epochs": 0}
    config.callbacks.latent_grid = grid
    (tiny_run / "config.yaml").write_text(OmegaConf.to_yaml(config))
    keep_digest(tiny_run)
    words = ("task=figures", f"run_dir={tiny_run}", "figures.only=[latent_grid]", "callbacks.latent_grid.reach=3")
    answer = call(*words)
    assert "latent_grid n=4 reach=3 spacing=linear" in answer.out


def keep_digest(run):
    """Let the checkpoint belong to the config as it is now."""
    import torch

    from vae_lab.runs.folder import RunFolder

    checkpoint = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save(checkpoint | {"config_sha256": RunFolder(run).config_digest()}, run / "checkpoints" / "best.ckpt")


@pytest.mark.parametrize(("kind", "start"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_figures_are_saved_in_the_format_that_the_command_names(tiny_run, kind, start):
    words = (f"figures.format={kind}", "figures.dpi=50", "figures.only=[kl_by_dimension]")
    answer = call("task=figures", f"run_dir={tiny_run}", *words)
    assert (answer.code, answer.err) == (0, "")
    assert len(answer.out.splitlines()) == 1
    assert drawn(tiny_run) == {"nelbo.png", f"kl_by_dimension.{kind}"}
    assert (tiny_run / "figures" / f"kl_by_dimension.{kind}").read_bytes().startswith(start)


def test_a_training_saves_its_figures_in_its_format_which_its_config_records(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = call(*TINY, "hydra.run.dir=run", "figures.format=svg", "figures.dpi=72")
    assert answer.code == 0, answer.err
    assert drawn(tmp_path / "run") == {"nelbo.svg"}
    assert OmegaConf.load("run/config.yaml").figures == {"format": "svg", "dpi": 72, "only": None}
    answer = call("task=figures", "run_dir=run", "figures.only=[nelbo]", "figures.format=png")
    assert answer.code == 0, answer.err
    assert imread("run/figures/nelbo.png").shape[1] == 7 * 72  # the resolution is still that of the run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["callbacks.latent_grid.m=3"], "latent_grid.m"),
        (["callbacks.last.every_n_minutes=3"], "callbacks.last.every_n_minutes=3: last draws no figure; there are "),
        (
            ["callbacks.samples.every_n_epochs=3"],
            "callbacks.samples.every_n_epochs=3: says when it is drawn in a training",
        ),
        (["callbacks=none"], "callbacks=none: leaves no figure to draw; use default"),
        (["figures.only=[sample]"], "figures.only=['sample']: no callback sample draws; there are reconstructions, "),
        (["figures.only=[ladder_samples]"], "figures.only=['ladder_samples']: this model gives none of them"),
        (["figures.only=samples"], "figures.only=samples: must be a list, its entries between [ and ]"),
        (["figures.only=[]"], "figures.only=[]: must have at least 1 item"),
        (["callbacks.traversals.steps=1"], "callbacks.traversals.steps=1: must be greater than or equal to 2"),
        (["figures.format=jpg"], "figures.format=jpg: must be 'png', 'pdf' or 'svg'"),
        (["figures.dpi=0"], "figures.dpi=0: must be greater than or equal to 30"),
        (["latent_dim=3"], "latent_dim=3: a finished run keeps its own settings"),
        (
            ["callbacks.interpolation.labels=[[3,12]]"],
            "labels=[[3,12]]: no test image has the label 12; there are 0, ",
        ),
        (["callbacks.interpolation.images=[[3,70]]"], "images=[[3,70]]: there is no test image 70; the last one is 69"),
        (["callbacks.traversals.image=70"], "traversals.image=70: there is no such test image; the last one is 69"),
        (["trainer.devices=2"], "trainer.devices=2: a finished run is computed on one device; use 1"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(tiny_run, words, message):
    before = files(tiny_run)
    answer = call("task=figures", f"run_dir={tiny_run}", "trainer.accelerator=cpu", *words)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert message in line
    assert files(tiny_run) == before


def test_a_training_with_walks_between_labels_that_there_are_not_is_refused_before_it_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word for word in TINY if word != "callbacks.interpolation=null"]
    answer = call(*words, "hydra.run.dir=run", "callbacks.interpolation.labels=[[3,8],[x,1]]")
    assert answer.code == 2
    assert "callbacks.interpolation.labels=[[3,8],['x',1]]: no test image has the label x" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_run_is_refused_and_stays(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    answer = call("task=figures", "run_dir=mine")
    assert (answer.code, "no config.yaml in it" in answer.err) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert "task=figures: needs a finished run" in call("task=figures").err


def test_what_is_written_stays_in_the_run_folder(tiny_run, tmp_path):
    (tmp_path / "mine.png").write_text("mine")
    (tiny_run / "figures" / "samples.png").symlink_to(tmp_path / "mine.png")
    answer = call("task=figures", f"run_dir={tiny_run}", "figures.only=[samples]")
    assert answer.code == 2
    assert "samples.png: is a link" in answer.err
    assert (tmp_path / "mine.png").read_text() == "mine"


def test_the_estimator_is_checked_on_a_trained_run(tiny_run):
    before = json.loads((tiny_run / "metrics.json").read_text())
    config = (tiny_run / "config.yaml").read_bytes()
    answer = call("task=estimator_check", f"run_dir={tiny_run}", "figures.format=pdf")
    assert (answer.code, answer.err) == (0, "")
    assert "closed form" in answer.out
    after = json.loads((tiny_run / "metrics.json").read_text())
    assert {name: after[name] for name in before} == before
    assert abs(after["estimator/estimate"] - after["estimator/value"]) < 5 * after["estimator/error"]
    assert (tiny_run / "figures" / "estimator_check.pdf").read_bytes().startswith(b"%PDF")
    assert (tiny_run / "config.yaml").read_bytes() == config
    refused = call("task=estimator_check", f"run_dir={tiny_run}", "latent_dim=3")
    assert "latent_dim=3: a finished run keeps its own settings" in refused.err
