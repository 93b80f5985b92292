"""Command lines: the command that a run's config stands for, and what a task over finished runs may name.

Nothing heavy is imported here.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import ConfigError
from vae_lab.paths import CONF

# what is no setting of the experiment: where it ran, what was measured afterwards, and a search around it
APART = (
    "run_dir",
    "sweep_dir",
    "resume",
    "data.root",
    "trainer.accelerator",
    "trainer.devices",
    "evaluation.",
    "logger.",
    "callbacks.pruning",
)
NOT_PARTS = ("hydra", "experiment", "debug", "evaluation", "logger", "sweep")

Leaves = dict[str, Any]

_ABSENT = object()


def leaves(config: DictConfig | Mapping[str, Any], resolve: bool = True) -> Leaves:
    """Every value of a config below its dotted key, without what APART leaves out.

    >>> leaves({"seed": 1, "loss": {"coeff": 2.0}, "run_dir": None})
    {'seed': 1, 'loss.coeff': 2.0}
    """

    def walk(node: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in node.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{name}.")
            elif not f"{prefix}{name}".startswith(APART):
                yield f"{prefix}{name}", value

    plain = OmegaConf.to_container(config, resolve=resolve) if isinstance(config, DictConfig) else config
    assert isinstance(plain, Mapping)
    return dict(walk(plain, ""))


def typed(value: Any) -> str:
    """A value as it is typed on the command line.

    >>> typed([300, 300]), typed(None), typed(0.003), typed("kl")
    ('[300,300]', 'null', '0.003', 'kl')
    """
    if value is None or isinstance(value, list | dict | bool):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def choices(group: str) -> dict[str, Any]:
    """The choices of a part, and the class that each names, or None; empty for what is no part."""
    found = {}
    # a key of somebody's config must not lead out of the folder
    for file in sorted((CONF / group).glob("*.yaml")) if group.isidentifier() else []:
        node = OmegaConf.load(file)
        found[file.stem] = node.get("_target_") if isinstance(node, DictConfig) else None
    return found


def parts_of(config: DictConfig) -> dict[str, str]:
    """The choice of each part that a config was made of, by its class; data by the set's name.

    >>> parts_of(OmegaConf.create({"data": {"name": "mnist"}, "loss": {"_target_": "vae_lab.losses.KL"}}))
    {'data': 'mnist', 'loss': 'kl'}
    """
    found = {"data": str(config.data.name)}
    for group, node in config.items():
        if isinstance(node, DictConfig) and "_target_" in node and group != "data":
            names = [choice for choice, target in choices(str(group)).items() if target == node._target_]
            found[str(group)] = names[0] if names else str(node._target_)
    return found


def overrides_of(config: DictConfig) -> list[str]:
    """The overrides that lead from the defaults to a run's config: a recipe, then choices, then values.

    The recipe is the one that differs least, each part's choice the one that leaves the fewest differences.
    What follows by interpolation needs no override: shorter keys are set first, and of the longer ones only
    those that then still differ are named.

    Raises:
        HydraException: if no override can say what the config says.
    """
    own = leaves(config, resolve=False)
    # under hydra.main the folder of configs is known already
    known = GlobalHydra.instance().is_initialized()
    with nullcontext() if known else initialize_config_dir(str(CONF), version_base="1.3"):
        found = _nearest(own, [], "experiment")
        for group in sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in NOT_PARTS):
            if _has_another_form(own, _composed(tuple(found)), group):
                found = _nearest(own, found, group)
        return found + _values(own, found)


def command(overrides: Sequence[str], seeds: Sequence[int] = ()) -> str:
    """What a person types: quoted for a shell, a multirun where there are several seeds.

    >>> command(["experiment=latent2d", "hidden_dims=[32]"], [0, 1])
    "python -m vae_lab -m experiment=latent2d 'hidden_dims=[32]' seed=0,1"
    """
    words = ["python", "-m", "vae_lab", *(["-m"] if len(seeds) > 1 else []), *overrides]
    words += [f"seed={','.join(map(str, seeds))}"] if list(seeds) not in ([], [0]) else []
    return shlex.join(words)


def hold_to(overrides: Sequence[str], allowed: tuple[str, ...], reason: str) -> None:
    """Refuse overrides that a task over finished runs would ignore.

    Raises:
        ConfigError: names the first that begins with nothing of ``allowed``.
    """
    for override in overrides:
        key, _, value = override.lstrip("+~").partition("=")
        if not key.startswith(allowed):
            raise ConfigError(key, value, reason)


@cache  # a tenth of a second each, and the recipes are composed again for each run
def _composed(overrides: tuple[str, ...]) -> Leaves:
    return leaves(compose("config", list(overrides)))


def _has_another_form(own: Leaves, other: Leaves, group: str) -> bool:
    """Whether a part is of another class or has other keys, and not only other values."""
    differing = [key for key in _differing(own, other) if key.split(".")[0] == group]
    return any(key.endswith("._target_") or key not in own or key not in other for key in differing)


def _differing(own: Leaves, other: Leaves) -> set[str]:
    return {key for key in own.keys() | other.keys() if own.get(key, _ABSENT) != other.get(key, _ABSENT)}


def _nearest(own: Leaves, overrides: list[str], group: str) -> list[str]:
    """The overrides with the choice of a group added, or none, that leaves the fewest differences."""
    candidates = [overrides, *([*overrides, f"{group}={choice}"] for choice in choices(group))]
    return min(candidates, key=lambda candidate: len(_differing(own, _composed(tuple(candidate)))))


def _values(own: Leaves, overrides: list[str]) -> list[str]:
    """One override for each value that the recipe and the choices leave different."""
    named: dict[str, str] = {}
    while True:
        composed = _composed((*overrides, *named.values()))
        # a key that came later is missing in a run of an earlier version, and stays as it is
        wrong = [key for key in own if own[key] != composed.get(key, _ABSENT) and key not in named]
        if not wrong:
            return list(named.values())
        shallow = min(key.count(".") for key in wrong)
        for key in wrong:
            if key.count(".") == shallow:
                is_there = any(other == key or other.startswith(f"{key}.") for other in composed)
                named[key] = f"{'' if is_there else '+'}{key}={typed(own[key])}"
