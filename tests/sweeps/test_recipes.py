"""Sweeps by name are multiruns of configs that hold."""

import math

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode

from vae_lab.config.check import check
from vae_lab.paths import CONF


@pytest.mark.parametrize(
    ("name", "runs"), [("lr_coeff_hidden", 18), ("seeds", 10), ("learning_rates", 2), ("gan_kinds", 9)]
)
def test_a_sweep_by_name_says_which_runs_there_are(name, runs):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [f"sweep={name}"], return_hydra_config=True)
        assert config.hydra.mode == RunMode.MULTIRUN
        swept = OverridesParser.create().parse_overrides([f"{k}={v}" for k, v in config.hydra.sweeper.params.items()])
        values = [list(o.sweep_string_iterator()) if o.is_sweep_override() else [o.value()] for o in swept]
        assert math.prod(len(choices) for choices in values) == runs
        keys = [override.key_or_group for override in swept]
        for chosen in zip(*([choices[0], choices[-1]] for choices in values), strict=True):
            check(hydra.compose("config", [f"{k}={v}" for k, v in zip(keys, chosen, strict=True)]))


def test_a_search_by_name_has_a_storage_in_the_folder_of_the_sweep():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", ["sweep=search", "sweep_dir=there"], return_hydra_config=True)
        assert config.hydra.sweeper.storage == "there/search.journal"
        check(hydra.compose("config", ["sweep=search"]))
