"""A run's folder leads back to the command that made it."""

import shlex

import pytest
import yaml
from hydra import compose, initialize_config_dir

from vae_lab.config.settings import command, leaves
from vae_lab.paths import CONF
from vae_lab.sweeps.best_setting import best_command, seed_commands
from vae_lab.sweeps.overrides import overrides_of, settings_in
from vae_lab.sweeps.sweep import Sweep


def kept(folder, *overrides):
    """A run folder that holds these overrides and nothing else."""
    folder.mkdir(exist_ok=True)
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
    return folder


def composed(overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return leaves(compose("config", list(overrides)))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["seed=3", "hidden_dims=[512,256]", "optimizer.lr=0.001"],
        ["experiment=conv_mixture", "prior.components=20"],
        ["experiment=notebook_sgvb"],
        ["experiment=bernoulli_z10", "callbacks=early_stopping"],
        ["likelihood=gaussian", "likelihood.scale=0.5", "data.binarization=none"],
        ["data=kmnist", "scheduler=none", "trainer.gradient_clip_val=100.0"],
        ["loss=sgvb", "prior=flow", "prior.hidden_dims=[300,300]"],
        ["callbacks.samples=null", "+callbacks.early_stopping.patience=3", "~callbacks.nelbo"],
        ["seed=3", "trainer=cpu", "data.root=/somewhere", "evaluation.k=3", "sweep=search", "logger=csv"],
    ],
)
def test_the_command_of_a_run_leads_to_its_config(tmp_path, overrides):
    found = overrides_of(kept(tmp_path / "run", *overrides))
    _, _, _, *typed = shlex.split(command(found))
    assert composed(typed) == composed(overrides)


def test_where_a_run_ran_is_no_part_of_its_command(tmp_path):
    places = ["run_dir=x", "sweep_dir=x", "resume=last", "data.root=/somewhere", "trainer.accelerator=gpu"]
    places += [
        "trainer.devices=2",
        "matmul=mkl",
        "image_shape=[1,28,28]",
        "logger=csv",
        "~logger.csv",
        "evaluation.k=3",
    ]
    places += ["+evaluation=more", "sweep=search", "hydra.run.dir=x", "hydra/launcher=slurm"]
    run = kept(tmp_path / "run", *places, "seed=3", "callbacks.pruning.after_runs=2", "callbacks.pruning=null")
    assert overrides_of(run) == ["seed=3"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("loss=sgvb,hidden_dims=[300,300],seed=0", ["loss=sgvb", "hidden_dims=[300,300]", "seed=0"]),
        ("+callbacks.early_stopping.patience=3,data.root=x", ["+callbacks.early_stopping.patience=3"]),
        ("defaults", []),
        ("2026-01-01_10-00-00", None),
        ("data.root=_a_b,seed=0~f13e8949", None),  # a part of the name is lost
        ("seed=0,1", None),
    ],
)
def test_an_older_run_is_known_by_its_folder_s_name(tmp_path, name, expected):
    (tmp_path / name).mkdir()
    assert overrides_of(tmp_path / name) == expected
    (tmp_path / name / "overrides.yaml").write_text("{")
    assert overrides_of(tmp_path / name) == expected
    assert settings_in(name).get("seed") == (0 if "seed=0" in (expected or []) else None)


@pytest.mark.parametrize(
    "odd", ["--config-dir=/elsewhere", "-m", "seed=0,1", "seed", "a='\x1b[2J'", "a='\n'", "a=(", ""]
)
def test_what_is_no_override_is_no_command(tmp_path, odd):
    assert overrides_of(kept(tmp_path / "run", "latent_dim=2", odd)) is None


def test_the_best_two_settings_are_repeated_over_seeds(make_run, tmp_path):
    for dims, nelbo in (("[8]", 100.0), ("[9]", 101.0)):
        run = make_run(f"hidden_dims={dims}", "seed=7", nelbo=nelbo, folder=f"sweep/{nelbo}")
        kept(run, f"hidden_dims={dims}", "trainer.devices=[1]", "+seed=7")
    sweep = Sweep(tmp_path / "sweep")
    assert best_command(sweep) == "python -m vae_lab 'hidden_dims=[8]' +seed=7"
    assert seed_commands(sweep) == [f"python -m vae_lab -m 'hidden_dims=[{n}]' seed=0,1,2" for n in (8, 9)]


def test_a_run_whose_folder_does_not_say_its_overrides_has_no_command(make_run, tmp_path):
    from vae_lab.sweeps.report import write

    make_run("latent_dim=2").rename(tmp_path / "sweep" / "moved")
    sweep = Sweep(tmp_path / "sweep")
    assert best_command(sweep) is None
    assert seed_commands(sweep) == []
    write(tmp_path / "sweep")
    assert "cannot be written as overrides" in (tmp_path / "sweep" / "report.html").read_text()


def test_the_words_are_quoted_for_a_shell(tmp_path):
    assert command(["a=$(touch x)"]) == "python -m vae_lab 'a=$(touch x)'"
    (hostile,) = overrides_of(kept(tmp_path / "run", "a='$(touch x); `touch y`'"))
    assert shlex.split(command([hostile]))[3:] == [hostile]
