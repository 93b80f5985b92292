"""A model that was built by hand, saved as a run folder that ``load`` reads."""

import csv
import hashlib
import io
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf
from torch import nn

from vae_lab.config.check import SIZES
from vae_lab.config.saved import load
from vae_lab.config.settings import NESTED
from vae_lab.config.targets import OF_MODELS, OUR_TARGETS, parts_of_model
from vae_lab.errors import ConfigError, RunFolderError, UserError
from vae_lab.files.new_folder import new_folder
from vae_lab.likelihoods import ContinuousBernoulli
from vae_lab.models import Model
from vae_lab.paths import CONF, expanded
from vae_lab.recorded import Recorded, arguments_of
from vae_lab.runs.folder import RunFolder

GREY = 256  # levels of a pixel that is not binarized


def save(model: Model, folder: Path | str) -> Path:
    """Save a model that was built and trained by hand, so that ``vae_lab.load(folder)`` gives it back.

    What ``config.yaml`` says of the data, the loss, the optimiser and the trainer are defaults: a model does not know
    them.

    Args:
        model: model whose parts are those of vae_lab.
        folder: new folder, or an empty one. It is complete, or not there.

    Returns:
        The folder.

    Raises:
        UserError: if the folder holds something, or the model has a part that a config cannot name.
        DiskError: if the folder cannot be written.
    """
    config = config_of(model)
    with new_folder(folder) as place:
        _write(model, config, RunFolder(place))
        try:
            load(place)
        except RunFolderError as error:  # what it could not read is refused now
            raise UserError(f"the model cannot be saved: {str(error).replace(str(place), '…')}") from error
    return Path(expanded(folder))


def _write(model: Model, config: DictConfig, run: RunFolder) -> None:
    """Write the files of a run: its config, weights and, where there is one, history."""
    run.write_config(config)
    run.checkpoints.mkdir()
    digest = hashlib.sha256(run.config_file.read_bytes()).hexdigest()
    torch.save({"state_dict": model.state_dict(), "config_sha256": digest}, run.best)
    if model.history:
        text = io.StringIO()
        names = dict.fromkeys(name for row in model.history for name in row)
        writer = csv.DictWriter(text, fieldnames=list(names), lineterminator="\n")
        writer.writeheader()
        writer.writerows(model.history)
        (run.path / "metrics.csv").write_text(text.getvalue())


def config_of(model: Model) -> DictConfig:
    """The config that builds a model of the same parts and sizes, untrained.

    Args:
        model: model whose parts are those of vae_lab.

    Raises:
        ConfigError: if it has a part that a config cannot name.
    """
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config")
    OmegaConf.resolve(config)
    OmegaConf.set_struct(config, False)
    node = _node("model", model)
    parts = {name: node.pop(name) for name in parts_of_model(node["_target_"]) if name in node}
    inner = {
        group: parts[part][name]
        for key, group in NESTED.items()
        for part, _, name in [key.partition(".")]
        if name in parts.get(part, {})
    }
    config.update(dict.fromkeys(OF_MODELS) | parts | inner | {"model": node, "callbacks": None, "logger": None})
    for size in SIZES:
        found = next((part[size] for part in (*parts.values(), node) if part.get(size)), config[size])
        config[size] = found
    config.image_shape = list(model.image_shape)
    config.data.checksums = "own"  # nothing is known of the images but their shape
    levels, likelihood = model.levels, model.likelihood_of_pixels
    has_grey = levels == GREY or isinstance(likelihood, ContinuousBernoulli)
    config.data.binarization = "none" if has_grey else "dynamic"
    return config


def _node(key: str, part: Any) -> dict[str, Any]:
    """The config of a part: its class, and the arguments that it was made with."""
    if not isinstance(part, Recorded):
        reason = "only parts of vae_lab, and classes derived from them, can be saved"
        raise ConfigError(key, type(part).__name__, reason)
    arguments = arguments_of(part) | _inside(key, part)
    found = {
        name: _plain(f"{key}.{name}", value)
        for name, value in arguments.items()
        if name != "image_shape" and value is not None
    }
    return {"_target_": _target(key, type(part)), **found}


def _inside(key: str, part: Any) -> dict[str, Any]:
    """Parts inside a part, which it may have made itself where none was given."""
    names = [name for path in NESTED for group, _, name in [path.partition(".")] if group == key.rpartition(".")[2]]
    names += ["inference"] if key == "model" and hasattr(part, "inference") else []
    return {name: getattr(part, name) for name in names if hasattr(part, name)}


def _target(key: str, kind: type) -> str:
    """The name of a class by which a config knows it: that of the room that offers it."""
    name = key.rpartition(".")[2]
    offered_by = OUR_TARGETS[name][0] if name in OUR_TARGETS else ""
    is_ours = kind.__module__.startswith(f"{offered_by}.") or kind.__module__ == offered_by
    return f"{offered_by if is_ours and offered_by else kind.__module__}.{kind.__qualname__}"


def _plain(key: str, value: Any) -> Any:
    """An argument as a config holds it."""
    if isinstance(value, Recorded | nn.Module):
        return _node(key if key.partition(".")[0] != "model" else key.partition(".")[2], value)
    if isinstance(value, tuple | list):
        return [_plain(key, entry) for entry in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(key, type(value).__name__, "is no plain value, and a config holds only these")
