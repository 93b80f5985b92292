"""Which names a run folder may say: vae_lab's own, a few of torch and Lightning, and packages that the reader trusts.

Nothing is imported here, neither what is named nor anything heavy.
"""

import importlib.util
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vae_lab.errors import ConfigError, is_ours

OURS = "vae_lab"

# Callbacks of Lightning that look, show, or end a run early: none of them is given a path or a function.
LOOKING = (
    "DeviceStatsMonitor",
    "EarlyStopping",
    "EMAWeightAveraging",
    "LearningRateMonitor",
    "ModelSummary",
    "RichModelSummary",
    "RichProgressBar",
    "TQDMProgressBar",
    "Timer",
)
# Names outside vae_lab that need no trust, by their group: they take numbers and words, and act on nothing but the run.
HARMLESS = {
    "optimizer": re.compile(r"torch\.optim\.[A-Z]\w*"),
    "scheduler": re.compile(r"torch\.optim\.lr_scheduler\.[A-Z]\w*"),
    "trainer": re.compile(r"lightning\.Trainer"),
    "callbacks": re.compile(rf"lightning\.pytorch\.callbacks\.({'|'.join(LOOKING)})"),
}


class Trust(NamedTuple):
    """What the reader of a run folder trusts.

    Args:
        packages: names of packages, or of modules in them, whose classes the folder may name.
        folder: the run folder, whose own files are data and are never imported.
    """

    packages: tuple[str, ...]
    folder: Path

    def covers(self, name: str) -> bool:
        """Whether a dotted name lies in one of the packages.

        >>> trust = Trust(("mylab",), Path("run"))
        >>> trust.covers("mylab.priors.Laplace"), trust.covers("mylabs.Laplace"), trust.covers("mylab")
        (True, False, True)
        """
        return any(name == package or name.startswith(f"{package}.") for package in self.packages)


def trusted(given: Any, folder: Path | str) -> Trust:
    """What ``trust=`` says.

    Args:
        given: names of packages, one name, or nothing.
        folder: run folder that is read.

    Raises:
        ConfigError: if it is something else, or names vae_lab itself.
    """
    names = [given] if isinstance(given, str) else list(given or ())
    for name in names:
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise ConfigError("trust", name, "must be names of packages that Python imports: trust=[mylab]")
        if name.partition(".")[0] == OURS:
            raise ConfigError("trust", name, "vae_lab's own parts need no trust; leave it out")
    return Trust(tuple(names), Path(folder))


def named(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every ``_target_`` of a config: the key of the node that has it, and the name as a text.

    >>> list(named({"prior": {"_target_": "mylab.Laplace"}, "seed": 0}))
    [('prior', 'mylab.Laplace')]
    """
    children: Iterable[tuple[Any, Any]] = config.items() if isinstance(config, dict) else ()
    if isinstance(config, list):
        children = ((f"[{index}]", child) for index, child in enumerate(config))
    for name, child in children:
        if name == "_target_":
            yield key, str(child)
        else:
            yield from named(child, f"{key}{name}" if str(name).startswith("[") else f"{key}.{name}".lstrip("."))


def check_names(config: Any, trust: Trust) -> None:
    """Refuse every name that needs trust and has none, before anything is imported.

    Args:
        config: config of a run folder, as plain values.
        trust: what the reader trusts.

    Raises:
        ConfigError: names the first key and its class, and the packages of all of them.
    """
    odd = [(key, name) for key, name in named(config) if not needs_no_trust(key, name) and not trust.covers(name)]
    if not odd:
        return
    packages = sorted({name.partition(".")[0] for _, name in odd})
    key, name = odd[0]
    if any(not _is_a_package(package) for package in packages):
        key, name = next((key, name) for key, name in odd if not _is_a_package(name.partition(".")[0]))
        raise ConfigError(f"{key}._target_", name, "only vae_lab's own parts are allowed here")
    given = ",".join(dict.fromkeys([*trust.packages, *packages]))
    in_python = ", ".join(f'"{package}"' for package in given.split(","))
    raise ConfigError(
        f"{key}._target_",
        name,
        f"is a class of the package {packages[0]}, whose code would run; if you know and trust "
        f"{' and '.join(packages)}, add trust=[{given}], in Python load(…, trust=[{in_python}])",
    )


def needs_no_trust(key: str, name: str) -> bool:
    """Whether it is a name of vae_lab, which is looked at closely elsewhere, or harmless at this place."""
    harmless = HARMLESS.get(key.partition(".")[0])
    return is_ours(name) or (harmless is not None and harmless.fullmatch(name) is not None)


def _is_a_package(name: str) -> bool:
    """Whether it can be the name of a package that somebody installs: nothing in Python itself is a part."""
    return name.isidentifier() and name not in sys.stdlib_module_names and name not in (OURS, "builtins", "__main__")


def check_place(name: str, trust: Trust) -> None:
    """Refuse a trusted package whose files lie in the run folder: they are the sender's, and not the reader's.

    Args:
        name: dotted name of a class.
        trust: what the reader trusts.

    Raises:
        ConfigError: names the package and the folder.
    """
    package = name.partition(".")[0]
    try:
        spec = importlib.util.find_spec(package)  # of a package at the top, which imports nothing
    except ValueError:  # a module that was made by hand
        return
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    if any(place and Path(place).resolve().is_relative_to(trust.folder.resolve()) for place in places):
        remedy = "start from another folder, where Python finds your own one"
        raise ConfigError("trust", package, f"Python finds it in the run folder {trust.folder} itself; {remedy}")


def packages_of(config: Any) -> Sequence[str]:
    """The packages besides vae_lab whose classes a config names."""
    return sorted({name.partition(".")[0] for _, name in named(config)} - {OURS})
