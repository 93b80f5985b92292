"""Figures: draw a finished run's figures again, with other settings or in another format."""

import logging
from collections.abc import Sequence
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from vae_lab.config.settings import key_of
from vae_lab.errors import ConfigError
from vae_lab.runs.folder import RunFolder
from vae_lab.tasks.finished import config_for, open_run, read_for_task
from vae_lab.tasks.summary import shown
from vae_lab.training.figures.base import OF_TRAINING, FigureCallback

log = logging.getLogger(__name__)


def figures(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> float:
    """Draw the figures of a finished run into its folder, in place of those of the same name; returns their number.

    Args:
        config: config of this command.
        folder: folder of the run.
        overrides: overrides of this command.

    Raises:
        UserError: for a mistake that the user can correct.
    """
    reason = "a finished run keeps its own settings, except callbacks.*, figures.*, data.root and data.file"
    also = ("callbacks", "trainer.accelerator", "trainer.devices")
    before, overrides = read_for_task(config, folder, overrides, also, reason)
    saved = config_for(config, before, overrides)
    saved.callbacks = _callbacks_for(config, before, overrides)
    run = open_run(config, saved, folder)
    drawing = [callback for callback in run.trainer.callbacks if isinstance(callback, FigureCallback)]  # type: ignore[attr-defined]
    run.set_up()
    run.to_device()
    for callback in drawing:
        callback.check(run.model, run.data)
        callback.says_left_out |= config.figures.only is not None  # asked for by name
    drawn = 0
    for callback in drawing:
        place = folder.figures / callback.name_for(run.model)
        if callback.save(run.model, run.data, place) is not None:
            log.info("%s.%s: %s", shown(place), callback.form.format, callback.about)
            drawn += 1
    if config.figures.only is not None and not drawn:
        raise ConfigError("figures.only", config.figures.only, "this model gives none of them")
    return float(drawn)


def _callbacks_for(config: DictConfig, saved: DictConfig, overrides: Sequence[str]) -> dict[str, Any]:
    """The figures of the command and of the run: with the command's settings where it names them, else the run's."""
    named = {key_of(override): override.partition("=")[2] for override in overrides}
    of_command, of_run = _figures_in(config), _figures_in(saved)
    for key, value in named.items():
        _, _, setting = key.partition("callbacks.")
        name, _, argument = setting.partition(".")
        if setting and name not in {*of_command, *of_run}:
            raise ConfigError(key, value, f"{name} draws no figure; there are {', '.join(sorted(of_command))}")
        if argument in OF_TRAINING:
            raise ConfigError(key, value, "says when it is drawn in a training; leave it out")
    left_out = [str(name) for name, node in (config.callbacks or {}).items() if not node]
    found = {name: node for name, node in (of_command | of_run | of_command).items() if name not in left_out}
    for name, node in of_run.items():
        if name in found and node["_target_"] == found[name]["_target_"]:
            kept = {argument: value for argument, value in node.items() if f"callbacks.{name}.{argument}" not in named}
            found[name] = found[name] | kept
    if not found:
        raise ConfigError("callbacks", named.get("callbacks", "null"), "leaves no figure to draw; use default")
    return found


def _figures_in(config: DictConfig) -> dict[str, dict[str, Any]]:
    """The callbacks of a config that draw, by name."""
    plain = OmegaConf.to_container(config.callbacks or OmegaConf.create({}), resolve=True)
    assert isinstance(plain, dict)
    nodes = {str(name): node for name, node in plain.items() if node}
    return {name: node for name, node in nodes.items() if issubclass(get_class(node["_target_"]), FigureCallback)}
