"""A class that the command line puts in the place of a choice's: what only the other one takes is left out."""

import logging
from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf, open_dict

from vae_lab.config.settings import CLASS, key_of
from vae_lab.config.targets import arguments_of, find
from vae_lab.errors import ConfigError

log = logging.getLogger(__name__)

FUSED = ("Adam", "AdamW", "SGD")  # optimisers whose fused step works on every device


def leave_out_untaken(config: DictConfig, overrides: Sequence[str]) -> None:
    """Leave out the arguments of a choice that a class in its place does not take, unless the command gives them.

    ``optimizer._target_=torch.optim.SGD`` then runs, although the choice ``optimizer=adam`` gives ``betas``.

    Args:
        config: config of this command, as composed; it is changed.
        overrides: overrides of this command.
    """
    given = [key_of(override) for override in overrides]
    for key in (key.removesuffix(CLASS) for key in given if key.endswith(CLASS)):
        node = OmegaConf.select(config, key)
        if not isinstance(node, DictConfig):
            continue
        odd = [name for name in _untaken(key, node) if f"{key}.{name}" not in given]
        with open_dict(node):
            for name in odd:
                del node[name]
        if odd:
            log.info("%s: %s does not take %s", key, node._target_, ", ".join(odd))


def _untaken(key: str, node: DictConfig) -> list[str]:
    """The names of a node that are no argument of its class; none where the class takes any, or cannot be found."""
    try:
        taken = arguments_of(find(f"{key}{CLASS}", str(node.get("_target_"))))
    except (ConfigError, TypeError, ValueError):
        return []
    if taken is None:
        return []
    names = [str(name) for name in node if not str(name).startswith("_")]
    is_fused = key != "optimizer" or str(node._target_).rpartition(".")[2] in FUSED
    return [name for name in names if name not in taken or (name == "fused" and not is_fused)]
