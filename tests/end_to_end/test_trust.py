"""Classes of packages that a run folder names: none is imported unless its reader trusts the package."""

import sys
from pathlib import Path

import pytest

import vae_lab
from helpers import call
from hostile import EVALUATE, both_ways, forge
from vae_lab.errors import ConfigError, RunFolderError

ACTS = "open('{}', 'w').close()\n"  # a module whose import alone acts
A_PRIOR = """
import os
import subprocess
from subprocess import Popen

from vae_lab.priors import StandardNormal


class Mine(StandardNormal):
    pass


def make(**_):
    open('mine/touched', 'w').close()
"""


@pytest.fixture
def package(home, monkeypatch):
    """Makes a package in a folder from which Python imports; it writes ``imported`` beside itself when it is."""
    made = []

    def make(name: str, folder: Path = home, text: str = A_PRIOR) -> Path:
        monkeypatch.syspath_prepend(folder)
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(ACTS.format(home / f"{name}_imported") + text)
        made.append(name)
        return home / f"{name}_imported"

    yield make
    for name in [name for name in sys.modules if name.partition(".")[0] in made]:
        del sys.modules[name]


def name_prior(run: Path, target: str) -> None:
    forge(run, lambda config: config.update(prior={"_target_": target, "latent_dim": config["latent_dim"]}))


@pytest.mark.parametrize("where", [".", "run", "run/figures"])
def test_a_package_that_is_not_trusted_is_not_imported(home, package, where):
    imported = package("stranger", home / where)
    name_prior(home / "run", "stranger.Mine")
    line = both_ways(home).err
    assert "prior._target_=stranger.Mine: is a class of the package stranger" in line
    assert "trust=[stranger]" in line
    assert not imported.exists()


def test_what_a_folder_says_of_trust_is_not_read(home, package):
    imported = package("stranger")
    name_prior(home / "run", "stranger.Mine")
    forge(home / "run", lambda config: config.update(trust=["stranger"]))
    both_ways(home)
    assert not imported.exists()


def test_all_packages_are_named_before_any_is_imported(home, package):
    first, second = package("known"), package("stranger")
    name_prior(home / "run", "known.Mine")
    forge(home / "run", lambda config: config["loss"].update(_target_="stranger.Mine"))
    with pytest.raises(RunFolderError, match=r"trust=\[known,stranger\]"):
        vae_lab.load("run", trust=["known"])
    assert not first.exists()
    assert not second.exists()


@pytest.mark.usefixtures("small_files")
def test_a_package_that_the_reader_trusts_is_used(home, package):
    imported = package("mylab")
    name_prior(home / "run", "mylab.Mine")
    assert type(vae_lab.load("run", trust=["mylab"]).prior).__name__ == "Mine"
    assert imported.exists()
    answer = call(*EVALUATE, "trust=[mylab]")
    assert answer.code == 0, answer.err


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("mylab.os.system", "mylab has no os"),
        ("mylab.subprocess.Popen", "mylab has no subprocess"),
        ("mylab.Popen", "must be a class derived from vae_lab.priors.Prior"),
        ("mylab.StandardNormal", "is defined in vae_lab.priors.gaussian"),
        ("mylab.make", "must be a class derived from vae_lab.priors.Prior"),
        ("mylab", "must be a module and a class in it"),
        ("mylab.Mine.__init__", "mylab has no Mine"),
        ("mylab..Mine", "mylab"),
        ("mylab2.Mine", "is a class of the package mylab2"),
    ],
)
def test_a_name_that_leaves_the_trusted_package(home, package, target, reason):
    package("mylab")
    imported = package("mylab2")
    name_prior(home / "run", target)
    with pytest.raises(RunFolderError, match=reason):
        vae_lab.load("run", trust=["mylab"])
    answer = call(*EVALUATE, "trust=[mylab]")
    assert answer.code == 2
    assert reason in answer.err
    assert len(answer.err.splitlines()) == 1
    assert not (home / "mine" / "touched").exists()
    assert not imported.exists()


def test_a_trusted_package_is_not_taken_from_the_run_folder(home, package):
    imported = package("mylab", home / "run")
    name_prior(home / "run", "mylab.Mine")
    with pytest.raises(RunFolderError, match="Python finds it in the run folder run itself"):
        vae_lab.load("run", trust=["mylab"])
    assert not imported.exists()


INNER = {"_target_": "stranger.Mine", "latent_dim": 2}


@pytest.mark.parametrize(
    "change",
    [
        {"prior": {"_target_": "vae_lab.priors.StandardNormal", "latent_dim": INNER}},
        {"prior": {"_target_": "mylab.Mine", "latent_dim": INNER}},
        {"prior": {"_target_": "mylab.Mine", "latent_dim": {"_target_": "mylab.make"}}},
        {"callbacks": {"mine": INNER}},
        {"scheduler": INNER | {"_partial_": True}},
        {"trainer": {"_target_": "stranger.Mine"}},
        {"trainer": {"_target_": "lightning.Trainer", "strategy": {"_target_": "mylab.Mine"}}},
        {"optimizer": {"_target_": "torch.optim.Adam", "lr": {"_target_": "mylab.Mine"}}},
        {"optimizer": {"_target_": "torch.optim.load", "lr": 1.0}},
        {"callbacks": {"c": {"_target_": "lightning.pytorch.callbacks.LambdaCallback"}}},
        {"prior": {"_target_": "mylab.Mine", "_args_": [2]}},
    ],
)
def test_trust_is_for_what_it_names_and_where_it_belongs(home, package, change):
    package("mylab")
    imported = package("stranger")
    forge(home / "run", lambda config: config.update(change))
    with pytest.raises(RunFolderError, match=r"run/config\.yaml: "):
        vae_lab.load("run", trust=["mylab"])
    assert not imported.exists()
    assert not (home / "mine" / "touched").exists()


@pytest.mark.parametrize("task", ["again", "resume"])
def test_a_run_is_not_repeated_or_continued_with_a_strangers_class(home, package, task):
    imported = package("stranger")
    name_prior(home / "run", "stranger.Mine")
    (home / "run" / "metrics.json").unlink()
    answer = call(f"{task}=run")
    assert (answer.code, answer.out) == (2, "")
    assert "trust=[stranger]" in answer.err
    assert not imported.exists()


@pytest.mark.parametrize("trust", [["vae_lab"], ["vae_lab.cli"], ["my lab"], ["../mylab"], [""], ["mylab."]])
@pytest.mark.usefixtures("home")
def test_trust_names_packages(trust):
    with pytest.raises(ConfigError, match="trust="):
        vae_lab.load("run", trust=trust)


def test_a_report_imports_nothing_of_its_runs(home, package):
    imported = package("stranger")
    name_prior(home / "run", "stranger.Mine")
    (home / "sweep").mkdir()
    (home / "run").rename(home / "sweep" / "seed=0")
    answer = call("task=report", "sweep_dir=sweep")
    assert answer.code == 0, answer.err
    assert not imported.exists()
