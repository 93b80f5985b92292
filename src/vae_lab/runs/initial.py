"""Weights that a new run starts from: those of another run's best checkpoint."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from vae_lab.errors import ConfigError
from vae_lab.paths import argument
from vae_lab.runs.folder import RunFolder

if TYPE_CHECKING:
    from torch import Tensor, nn

log = logging.getLogger(__name__)

NAMED = 5  # tensors of each kind that a message names


def initial_weights(folder: RunFolder, model: "nn.Module", strict: bool) -> "Mapping[str, Tensor]":
    """The weights of a run that fit a model, by their names.

    The checkpoint is data: only tensors are read from it, and nothing that the run's config names is imported.

    Args:
        folder: folder of the run.
        model: model that is to start from them.
        strict: whether all must fit, and none be left out.

    Raises:
        ConfigError: if there is no such folder, or what does not fit: the tensors that the model lacks, that the
            checkpoint lacks, and that have another shape.
        RunFolderError: if there is no checkpoint, or it is damaged.
    """
    if not folder.path.is_dir():
        raise ConfigError("init_from", folder.path, "there is no such folder; give the folder of a run")
    there, ours = folder.read_checkpoint(folder.best)["state_dict"], model.state_dict()
    same = [name for name in ours if name in there]
    fitting = {name: there[name] for name in same if there[name].shape == ours[name].shape}
    odd = {
        "missing": [name for name in ours if name not in there],
        "unexpected": [name for name in there if name not in ours],
        "of another shape": [
            f"{name} {_shape(there[name])} for {_shape(ours[name])}" for name in same if name not in fitting
        ],
    }
    listed = "; ".join(f"{kind}: {_listed(names)}" for kind, names in odd.items() if names)
    if listed and (strict or not fitting):
        remedy = f"{argument('again', folder.path)} takes that run's parts and sizes"
        remedy += ", init_strict=false what fits" if fitting else ""
        raise ConfigError("init_from", folder.path, f"its weights do not fit this model ({listed}); {remedy}")
    left_out = f"; the others start as they are ({listed})" if listed else ""
    log.info("init_from: %d of %d tensors of %s%s", len(fitting), len(ours), folder.path, left_out)
    return fitting


def _shape(tensor: "Tensor") -> str:
    """A shape as it is written: 300 × 784."""
    return "×".join(map(str, tensor.shape)) or "a number"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
