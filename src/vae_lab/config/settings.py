"""The settings of a run: the values that its result depends on, and the command line that gives them.

Nothing heavy is imported here.
"""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lab.errors import ConfigError
from vae_lab.paths import CONF, quoted

# keys that are not settings of the experiment: where and how it ran, what was measured later, the search around it
APART = (
    "run_dir",
    "sweep_dir",
    "resume",
    "trust",
    "data.root",
    "image_shape",  # follows the data
    "trainer.accelerator",
    "trainer.devices",
    "trainer.graphs",
    "matmul",
    "threads",
    "evaluation.",
    "figures.",
    "report.",
    "explore.",
    "logger.",
    "callbacks.pruning",
)
APART_AS_OVERRIDES = (*APART, "evaluation", "figures", "explore", "logger", "sweep", "hydra")  # whole groups
# modules of the callbacks that draw and save, which changes no result; the first is that of earlier versions
DRAWING = ("vae_lab.callbacks.", "vae_lab.training.")
CLASS = "._target_"
# parts inside another part, and the group that they follow
NESTED = {"encoder.posterior": "posterior", "decoder.likelihood": "likelihood"}

Leaves = dict[str, Any]


def leaves(config: DictConfig | Mapping[Any, Any], resolve: bool = True, apart: tuple[str, ...] = APART) -> Leaves:
    """Every value of a config below its dotted key, without keys that begin with one of ``apart``.

    >>> leaves({"seed": 1, "loss": {"coeff": 2.0}, "run_dir": None})
    {'seed': 1, 'loss.coeff': 2.0}
    """

    def walk(node: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for name, value in node.items():
            if isinstance(value, dict) and value:
                yield from walk(value, f"{prefix}{name}.")
            elif not f"{prefix}{name}".startswith(apart):
                yield f"{prefix}{name}", value

    plain = OmegaConf.to_container(config, resolve=resolve) if isinstance(config, DictConfig) else config
    assert isinstance(plain, Mapping)
    return dict(walk(plain, ""))


def settings_of(config: DictConfig) -> Leaves:
    """Every value that a run's result can depend on, as it is written; callbacks that draw or save are left out.

    >>> samples = {"_target_": "vae_lab.training.callbacks.PriorSamples", "rows": 3}
    >>> settings_of(OmegaConf.create({"seed": 1, "callbacks": {"samples": samples}}))
    {'seed': 1}
    """
    found = leaves(config, resolve=False)
    drawing = tuple(
        key.removesuffix("_target_")
        for key, target in found.items()
        if key.startswith("callbacks.") and key.endswith(CLASS) and str(target).startswith(DRAWING)
    )
    return {key: value for key, value in found.items() if not key.startswith(drawing)}


def follows(key: str, runs: Sequence[Leaves]) -> bool:
    """Whether a shorter key that this one ends with has the same value in each run that has this one.

    >>> follows("encoder.hidden_dims", [{"hidden_dims": [5], "encoder.hidden_dims": [5]}])
    True
    """
    having = [settings for settings in runs if key in settings]
    endings = [key[match.end() :] for match in re.finditer(r"\.", key)]
    return bool(having) and any(
        all(shorter in values and comparable(values[shorter]) == comparable(values[key]) for values in having)
        for shorter in endings
    )


def comparable(value: Any) -> str:
    """A text that is equal for equal values, also for 1 and 1.0, and can be in a set, also for lists."""
    return repr(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else repr(value)


def name_of(key: str) -> str:
    """A key as users know it; the key of a class becomes the key of its part."""
    return key.removesuffix(CLASS)


def shown(key: str, value: Any) -> str:
    """A value as users type it; a class as the name of its choice, or else of the class.

    >>> shown("loss.coeff", 0.5), shown("loss._target_", "vae_lab.losses.KL"), shown("scheduler._target_", None)
    ('0.5', 'kl', 'none')
    """
    if not key.endswith(CLASS):
        return typed(value)
    if value is None:
        return "none"
    return _choices_by_class(name_of(key)).get(str(value), str(value).rpartition(".")[2])


def typed(value: Any) -> str:
    """A value as it is typed on the command line.

    >>> typed([300, 300]), typed(None), typed(0.003), typed("kl")
    ('[300,300]', 'null', '0.003', 'kl')
    """
    if value is None or isinstance(value, list | dict | bool):
        return json.dumps(value, separators=(",", ":"))
    return str(value)


def in_grammar(value: Any) -> str:
    """A value in Hydra's grammar, which takes it for the same value.

    >>> print(in_grammar([1, "a b"]), in_grammar("it's"), in_grammar(None), in_grammar(1e-5))
    [1,'a b'] 'it\\'s' null 1e-05
    """
    if isinstance(value, list):
        return f"[{','.join(map(in_grammar, value))}]"
    return quoted(value) if isinstance(value, str) else json.dumps(value)


@cache
def choices(group: str) -> Mapping[str, Any]:
    """The choices of a part, and the class that each names, or None; empty for any other name."""
    found = {}
    # a key of somebody's config must not lead out of the folder
    for file in sorted((CONF / group).glob("*.yaml")) if group.isidentifier() else []:
        node = OmegaConf.load(file)
        if isinstance(node, DictConfig) and isinstance(node.get(group), DictConfig):
            node = node[group]  # its file sets keys of the whole config
        found[file.stem] = node.get("_target_") if isinstance(node, DictConfig) else None
    return MappingProxyType(found)


@cache
def _choices_by_class(key: str) -> dict[str, str]:
    """The classes of a part, and the first choice that names each."""
    found: dict[str, str] = {}
    for choice, target in choices(key.rpartition(".")[2]).items():
        found.setdefault(str(target), choice)
    return found


def parts_of(config: DictConfig) -> dict[str, str]:
    """The choice of each part that a config was made of, by its class; data by the set's name, where it is a choice.

    >>> parts_of(OmegaConf.create({"data": {"name": "mnist"}, "loss": {"_target_": "vae_lab.losses.KL"}}))
    {'data': 'mnist', 'loss': 'kl'}
    """
    found = {}
    if (name := str(config.data.get("name"))) in choices("data"):
        found["data"] = name
    for group, node in config.items():
        if isinstance(node, DictConfig) and "_target_" in node and group not in found:
            names = [choice for choice, target in choices(str(group)).items() if target == node._target_]
            found[str(group)] = names[0] if names else str(node._target_)
    return found


def key_of(override: str) -> str:
    """The key of an override.

    >>> key_of("+trainer.max_time='00:01:00:00'"), key_of("~callbacks.samples")
    ('trainer.max_time', 'callbacks.samples')
    """
    return override.lstrip("+~").partition("=")[0]


def overrides_to_repeat(overrides: Sequence[str]) -> list[str]:
    """The overrides of a run that say what it is, without those that say where it ran and what was measured later.

    >>> overrides_to_repeat(["seed=3", "trainer.devices=2", "sweep=search", "hydra.run.dir=there"])
    ['seed=3']
    """
    return [override for override in overrides if not key_of(override).startswith(APART_AS_OVERRIDES)]


def command(overrides: Sequence[str], seeds: Sequence[int] = ()) -> str:
    """The command to type: quoted for a shell, and a multirun for several seeds.

    >>> command(["experiment=latent2d", "hidden_dims=[32]"], [0, 1])
    "python -m vae_lab -m experiment=latent2d 'hidden_dims=[32]' seed=0,1"
    """
    words = ["python", "-m", "vae_lab", *(["-m"] if len(seeds) > 1 else []), *overrides]
    words += [f"seed={','.join(map(str, seeds))}"] if list(seeds) not in ([], [0]) else []
    return shlex.join(words)


def check_overrides(overrides: Sequence[str], allowed: tuple[str, ...], reason: str) -> None:
    """Refuse overrides that a task over finished runs would ignore.

    Raises:
        ConfigError: names the first override that does not begin with one of ``allowed``.
    """
    for override in overrides:
        if not key_of(override).startswith(allowed):
            raise ConfigError(key_of(override), override.partition("=")[2], reason)
