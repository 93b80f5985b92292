"""A run's config leads back to the command that made it."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vae_lab.config.settings import command, leaves, overrides_of
from vae_lab.paths import CONF


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", list(overrides))
    return OmegaConf.create(OmegaConf.to_container(config, resolve=True))


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
        ["callbacks.samples=null", "+callbacks.early_stopping.patience=3"],
    ],
)
def test_the_command_of_a_config_leads_to_that_config(overrides):
    config = composed(*overrides)
    found = overrides_of(config)
    assert leaves(composed(*found)) == leaves(config)
    assert len(found) <= max(1, len(overrides))


def test_what_a_recipe_and_choices_say_is_not_repeated():
    assert overrides_of(composed()) == []
    assert overrides_of(composed("experiment=conv_planar")) == ["experiment=conv_planar"]
    assert overrides_of(composed("loss=sgvb", "prior=mixture")) == ["loss=sgvb", "prior=mixture"]


def test_where_a_run_ran_is_no_part_of_its_command():
    assert overrides_of(composed("data.root=/somewhere", "trainer=cpu", "logger=csv", "evaluation.k=3")) == []


def test_the_words_are_quoted_for_a_shell():
    assert command(["a=$(touch x)"]) == "python -m vae_lab 'a=$(touch x)'"
