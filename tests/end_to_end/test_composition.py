"""Own config files, saved configs that run again, and errors after which nothing is left."""

import functools
import os
import re
import shlex
import signal
from pathlib import Path

import hydra
import pytest
from omegaconf import OmegaConf
from omegaconf.errors import ConfigAttributeError

from helpers import TINY, call
from vae_lab import priors
from vae_lab.config.check import check
from vae_lab.errors import UserError
from vae_lab.files import checks, tensors
from vae_lab.paths import CONF
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks import evaluate, train
from vae_lab.tasks.run import run

HEAD = "# @package _global_\n"
QUICK = ("trainer.accelerator=cpu", "evaluation.samples=none", "evaluation.k=2")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def left(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def compose(*overrides: str):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        (HEAD + "latent_dims: 2\n", "latent_dims=2", "did you mean latent_dim?"),
        (HEAD + "optimizer: {lrr: 1}\n", "optimizer.lrr=1", "did you mean optimizer.lr?"),
        (HEAD + "evaluation: {kk: 1}\n", "evaluation.kk=1", "did you mean evaluation.k?"),
        (HEAD + "callbacks: {sample: {rows: 3}}\n", "callbacks.sample=", "did you mean callbacks.samples?"),
        (HEAD + "trainer: {max_epoch: 3}\n", "trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
        (HEAD + "encoder: {posterior: {x: 3}}\n", "encoder.posterior.x=3", "takes no such argument"),
        (HEAD + "latent_dim: 0\n", "latent_dim=0", "greater than or equal to 1"),
        ("latent_dim: 2\n", "experiment.latent_dim=2", "begins with '# @package _global_'"),
        ("\nlatent_dim: 2\n# @package _global_\n", "experiment.latent_dim=2", "begins with '# @package _global_'"),
        ("# @package global\nlatent_dim: 2\n", "global.latent_dim=2", "must be '# @package _global_'"),
    ],
)
def test_an_own_recipe_with_a_key_without_effect_is_named_with_its_file(tmp_path, text, key, remedy):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(text)
    answer = call("--config-dir", "own", "experiment=mine")
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert key in line
    assert remedy in line
    assert "own/experiment/mine.yaml" in line
    assert left(tmp_path) == ["own"]


def test_an_own_file_with_a_name_of_ours_is_refused(tmp_path):
    (tmp_path / "own" / "prior").mkdir(parents=True)
    (tmp_path / "own" / "prior" / "mixture.yaml").write_text("_target_: vae_lab.priors.Mixture\nlatent_dim: 2\n")
    answer = call("--config-dir", "own", "prior=mixture")
    assert answer.code == 2
    assert "prior/mixture.yaml: vae_lab's own config of this name would be used in its place" in answer.err


@pytest.mark.usefixtures("small_files")
def test_a_saved_config_runs_again(tiny_run):
    before = (tiny_run / "config.yaml").read_text()
    answer = call("again=run", "hydra.run.dir=new")
    assert answer.code == 0, answer.err
    assert Path("new/config.yaml").read_text() == before
    assert RunFolder("new").read_metrics()["test/nelbo"] == RunFolder("run").read_metrics()["test/nelbo"]


@pytest.mark.usefixtures("small_files")
def test_a_saved_config_runs_again_with_other_values_and_parts(tiny_run):
    answer = call(f"again={tiny_run}/config.yaml", "prior=mixture", "loss=sgvb", "latent_dim=3", "hydra.run.dir=new")
    assert answer.code == 0, answer.err
    saved = OmegaConf.load("new/config.yaml")
    assert (saved.latent_dim, saved.prior.latent_dim, saved.encoder.hidden_dims) == (3, 3, [8])
    assert (saved.prior._target_, saved.trainer.max_epochs) == ("vae_lab.priors.Mixture", 2)


@pytest.mark.parametrize(
    "words",
    [
        ["--config-dir", "run", "--config-name", "config"],
        ["--config-dir", "run"],
        ["--config-path", "run"],
        ["-cp", "run", "-cn", "config"],
        ["--config-dir", ".", "--config-name", "mine"],
    ],
)
@pytest.mark.usefixtures("tiny_run")
def test_a_saved_config_given_in_another_way_names_the_right_one(words):
    Path("mine.yaml").write_text(Path("run/config.yaml").read_text())
    answer = call(*words)
    assert answer.code == 2
    named = re.search(r"again: (again=\S+)$", answer.err.strip())
    assert named
    assert call(named[1], "--cfg", "job").out == call("again=run", "--cfg", "job").out


def test_a_recipe_beside_a_saved_config_is_refused(tiny_run):
    answer = call(f"again={tiny_run}", "experiment=latent2d")
    assert answer.code == 2
    assert "experiment=latent2d: the config of again=" in answer.err


@pytest.mark.usefixtures("small_files")
def test_no_logger_and_no_figures():
    answer = call(*TINY, "logger=none", "callbacks=none", "scheduler=none", "hydra.run.dir=new")
    assert answer.code == 0, answer.err
    assert left(Path("new")) == ["checkpoints", "config.yaml", "metrics.json", "overrides.yaml", "run.log"]


@pytest.mark.parametrize("wrong", ["latent_dim=0", "trainer.max_epochs=none", "encoder.activation=x", "hidden_dims=[]"])
def test_the_example_in_a_message_works(wrong):
    (example,) = re.findall(r"for example (.+)$", call(wrong).err.strip())
    check(compose(*shlex.split(example)))


@pytest.mark.parametrize("wrong", ["data.batch_size=70000", "data.validation=60000", "trainer.max_epochs=null"])
def test_a_refusal_for_another_reason_has_no_example(wrong):
    assert "for example" not in call(wrong).err


@pytest.mark.usefixtures("small_files")
def test_the_hint_of_a_folder_with_a_run_works(tiny_run, tmp_path):
    def hint() -> list[str]:
        answer = call(*TINY, "hydra.run.dir=run")
        assert (answer.code, "holds a run already" in answer.err) == (2, True)
        return shlex.split(answer.err.partition("that run: ")[2])

    assert hint() == ["task=evaluate", "run_dir=run"]
    (tiny_run / "metrics.json").unlink()
    assert hint() == ["resume=run"]
    assert call("resume=run").code == 0
    answer = call("resume=run")
    (named,) = re.findall(r"task=evaluate \S+", answer.err)
    assert call(*shlex.split(named), *QUICK).code == 0
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    config.task = "estimator_check"  # such a run has no further step
    OmegaConf.save(config, tmp_path / "run" / "config.yaml")
    (tmp_path / "run" / "metrics.json").unlink()
    assert hint() == []


def test_a_package_that_is_missing_is_one_line(tmp_path, monkeypatch):
    @functools.wraps(priors.StandardNormal.__init__)
    def constructor(*_, **__):
        raise ModuleNotFoundError("No module named 'zuko'", name="zuko")

    monkeypatch.setattr(priors.StandardNormal, "__init__", constructor)
    answer = call("trainer.accelerator=cpu")
    assert (answer.code, answer.out) == (2, "")
    (line,) = answer.err.splitlines()
    assert "No module named 'zuko'; pip install zuko" in line
    assert left(tmp_path) == []


@pytest.mark.parametrize("error", [ConfigAttributeError("no such key"), OSError(13, "Permission denied", "x")])
@pytest.mark.usefixtures("small_files")
def test_an_error_at_the_start_leaves_no_folder(tmp_path, monkeypatch, error):
    def make_trainer(*_, **__):
        raise error

    monkeypatch.setattr(train, "make_trainer", make_trainer)
    answer = call(*TINY)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert left(tmp_path) == []


@pytest.mark.usefixtures("small_files")
def test_an_error_after_the_claim_leaves_no_folder(tmp_path, monkeypatch):
    def announcement(*_):
        raise ConfigAttributeError("no such key")

    monkeypatch.setattr(train, "announcement", announcement)
    answer = call(*TINY)
    assert answer.code == 2
    assert left(tmp_path) == []


@pytest.mark.usefixtures("small_files", "tiny_run")
def test_a_signal_in_an_evaluation_leaves_no_lock(monkeypatch):
    monkeypatch.setattr(evaluate, "tested", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    answer = call("task=evaluate", "run_dir=run", *QUICK)
    assert answer.code == 128 + signal.SIGTERM
    assert not list(Path("run").glob(".*"))


@pytest.mark.parametrize("logging", ["disabled", "none", "default"])
@pytest.mark.usefixtures("tiny_run")
def test_a_report_needs_no_log(tmp_path, logging):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "run").rename(tmp_path / "sweep" / "run")
    answer = call("task=report", "sweep_dir=sweep", f"hydra/job_logging={logging}")
    assert answer.code == 0, answer.err
    of_report = ["learning_curves.pdf", "report.html", "run", "settings.pdf", "sweep.csv", "table.md", "table.tex"]
    assert left(tmp_path / "sweep") == of_report


def test_run_in_a_notebook_points_to_the_python_way():
    with pytest.raises(UserError, match=r"vae_lab\.Training"):
        run(compose())


def test_a_file_that_must_not_be_read_names_the_remedy(tmp_path, monkeypatch):
    def refuse(file, *_, **__):
        raise PermissionError(13, "Permission denied", str(file))

    (tmp_path / "config.yaml").write_text("seed: 1\n")
    monkeypatch.setattr(Path, "read_text", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(UserError, match=r"config\.yaml: Permission denied; give yourself the right"):
        checks.read_text(tmp_path / "config.yaml", 100)
    with pytest.raises(UserError, match=r"config\.yaml: Permission denied; give yourself the right"):
        tensors.read(tmp_path / "config.yaml", "checkpoint")
