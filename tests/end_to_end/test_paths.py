"""Folders with any name, from any place: what the user typed is what is meant."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

import vae_lab
from helpers import TINY, call, digits
from vae_lab.arguments import prepared
from vae_lab.data import mnist_files
from vae_lab.errors import RunFolderError

QUICK = ("trainer.accelerator=cpu", "evaluation.samples=none", "evaluation.k=2")
pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_home_folder_in_each_key(home, tiny_run):
    assert call(*TINY, "hydra.run.dir=~/new").code == 0
    assert (home / "new" / "metrics.json").exists()
    assert call("task=evaluate", "run_dir=~/new", *QUICK).code == 0
    assert (home / "new" / "figures" / "bounds.png").exists()
    (home / "new" / "metrics.json").unlink()
    assert call("resume=~/new").code == 0
    assert call("task=report", "sweep_dir=~").code == 0
    assert (home / "sweep.csv").exists()
    assert vae_lab.load("~/new").sample(1).shape == (1, 1, 28, 28)
    assert call("again=~/new", "--cfg", "job").code == 0
    assert call("-m", *TINY, "seed=0", "sweep_dir=~/sweep").code == 0
    assert (home / "sweep" / "report.html").exists()
    assert list(Path().iterdir()) == []
    assert tiny_run.exists()


def test_a_home_folder_in_a_file(home, tmp_path):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra:\n  run:\n    dir: ~/run\n  sweep:\n    dir: ~/sweep\n"
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text(text)
    assert call("--config-dir", "../own", "experiment=mine", *TINY).code == 0
    assert call("--config-dir=~/../own", "-m", "experiment=mine", *TINY, "seed=0").code == 0
    assert (home / "run" / "metrics.json").exists()
    assert (home / "sweep" / "report.html").exists()
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize("name", ["a=b,c", "it's two words (é)", "2024", "[a]{x}#b"])
def test_a_new_folder_may_have_any_name(name):
    assert call(*TINY, f"hydra.run.dir={name}", "logger=none").code == 0
    assert [entry.name for entry in Path().iterdir()] == [name]
    answer = call(*TINY, f"hydra.run.dir={name}")
    (hint,) = re.findall(r"that run: (.+)$", answer.err.strip())
    assert shlex.split(hint) == ["task=evaluate", f"run_dir={name}"]
    assert call(*shlex.split(hint), *QUICK).code == 0


@pytest.mark.parametrize(
    ("word", "taken"),
    [
        ("run_dir=a,b", "run_dir=a,b"),  # a sweep over two runs
        ("sweep_dir=a,b", "sweep_dir='a,b'"),
        ("data.root=a b", "data.root=a b"),
        ("data.root=1e5", "data.root='1e5'"),
        ("data.root='a=b'", "data.root='a=b'"),
        ("data.root=null", "data.root=null"),
        ("hydra.run.dir=${now:%Y}/x", "hydra.run.dir=${now:%Y}/x"),
        ("hydra.run.dir=${now:%Y}=x", "hydra.run.dir='${now:%Y}=x'"),
    ],
)
def test_a_folder_of_a_sweep_is_quoted_where_hydra_would_parse_it(word, taken):
    assert prepared(["-m", word]) == ["--multirun", taken]


def test_options_and_overrides_come_in_any_order():
    assert prepared(["seed=1", "--cfg", "job", "latent_dim=2", "-p", "data"]) == [
        *("--cfg", "job", "--package", "data"),
        *("seed=1", "latent_dim=2"),
    ]


def test_a_stopped_run_prints_a_command_that_a_shell_takes(tiny_run):
    tiny_run.rename("two words (é)")
    answer = call("resume=two words (é)")
    assert "task=evaluate 'run_dir=two words (é)'" in answer.err
    answer = call("task=evaluate", "run_dir=two words (é)", *QUICK)
    assert answer.code == 0
    assert call(*TINY, "hydra.run.dir=two words/run").out.rstrip().endswith("tensorboard --logdir 'two words'")


def test_relative_paths_mean_where_they_were_typed(tiny_run, monkeypatch):
    roots = []

    def load_once(_, root, *__):
        roots.append(Path(root).absolute())
        return digits(530), digits(70)

    monkeypatch.setattr(mnist_files, "load_once", load_once)
    chdir = "hydra.job.chdir=true"
    assert call(*TINY, "data.root=mnist", chdir, "hydra.run.dir=new").code == 0
    assert set(roots) == {Path("mnist").absolute()}
    tiny_run.rename("old")
    assert call("task=evaluate", "run_dir=old", "data.root=mnist", chdir, *QUICK).code == 0
    Path("old/metrics.json").unlink()
    assert call("resume=old", "data.root=mnist", chdir).code == 0
    assert sorted(entry.name for entry in Path().iterdir()) == ["new", "old"]


def test_a_config_with_the_line_ends_of_windows_is_taken(tiny_run):
    file = tiny_run / "config.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert vae_lab.load(tiny_run).sample(1).shape == (1, 1, 28, 28)
    assert call("task=evaluate", f"run_dir={tiny_run}", *QUICK).code == 0


def test_an_edited_config_is_still_refused(tiny_run):
    config = yaml.safe_load((tiny_run / "config.yaml").read_text())
    (tiny_run / "config.yaml").write_text(yaml.safe_dump(config | {"seed": 5}))
    with pytest.raises(RunFolderError, match="was changed after"):
        vae_lab.load(tiny_run)


def test_a_link_in_place_of_the_checkpoints(tiny_run, tmp_path):
    (tiny_run / "checkpoints").rename(tmp_path / "scratch")
    (tiny_run / "checkpoints").symlink_to(tmp_path / "scratch")
    assert vae_lab.load(tiny_run).sample(1).shape == (1, 1, 28, 28)
    answer = call("task=evaluate", f"run_dir={tiny_run}", *QUICK)
    assert "checkpoints: is a link; " in answer.err
    assert "put what it leads to in its place" in answer.err
    (tmp_path / "scratch").rename(tmp_path / "elsewhere")
    with pytest.raises(RunFolderError, match=r"checkpoints: is a link to .*scratch, and nothing is there"):
        vae_lab.load(tiny_run)
