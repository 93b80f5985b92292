"""What the overrides of a sweep mean for its runs, found out before the first run starts."""

from collections.abc import Iterator, Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lab.config.settings import typed
from vae_lab.errors import ConfigError
from vae_lab.sweeps.baseline import KEY, is_same, parsed


def swept(config: DictConfig) -> list[Override]:
    """The overrides of all runs, a later one in place of an earlier one of the same key.

    Args:
        config: config of the multirun, with Hydra's own part.
    """
    params = config.hydra.sweeper.get("params") or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    parsed = OverridesParser.create(config_loader=_loader()).parse_overrides(words)
    return list({override.key_or_group: override for override in parsed}.values())


def values_of(key: str, overrides: Sequence[Override]) -> Iterator[str]:
    """The values that a key has in the runs of a sweep, where the overrides give it several.

    Args:
        key: key of the value, with dots.
        overrides: overrides of all runs.
    """
    for override in overrides:
        if override.key_or_group == key and override.is_discrete_sweep():
            yield from override.sweep_string_iterator()


def check_intervals(overrides: Sequence[Override]) -> None:
    """Refuse an interval where no search chooses from it.

    Args:
        overrides: overrides of all runs of a sweep that is no search.

    Raises:
        ConfigError: names the key.
    """
    for override in overrides:
        if override.is_sweep_override() and not override.is_discrete_sweep():
            key, value = override.key_or_group, str(override.input_line).partition("=")[2]
            reason = f"only a search chooses from an interval; add sweep=search, or name the values: {key}=A,B,C"
            raise ConfigError(key, value, reason)


def check_baseline(baseline: str | None, overrides: Sequence[Override]) -> None:
    """Refuse a baseline that none of the runs will be, where the values of a sweep say so.

    Args:
        baseline: setting that the report tests all others against.
        overrides: overrides of all runs.

    Raises:
        ConfigError: names the values that there are.
    """
    for key, value in (parsed(baseline) if baseline else {}).items():
        values = [_unquoted(each) for each in values_of(key, overrides)]
        if values and not any(is_same(each, value) for each in values):
            raise ConfigError(KEY, str(baseline), f"no run of the sweep has it; {key} is {', '.join(values)}")


def _unquoted(value: str) -> str:
    return value.strip("'\"")


def check_values(config: DictConfig, overrides: Sequence[Override]) -> None:
    """Refuse a sweep with a value that is wrong in each of its runs.

    Each value is tried beside the first values of the other keys, and where that is refused beside their last ones.
    Two values that do not fit together are thus left to their own run, which fails with the reason.

    Args:
        config: config of the multirun, with Hydra's own part.
        overrides: overrides of all runs.

    Raises:
        ConfigError: names the key and the value.
    """
    choices = [found for override in overrides if (found := list(_tried(override)))]
    known: dict[tuple[str, ...], ConfigError | None] = {}

    def refused(run: tuple[str, ...]) -> ConfigError | None:
        if run not in known:
            known[run] = _refused(config, run)
        return known[run]

    for place, values in enumerate(choices):
        for value in values:
            ends = [tuple(value if i == place else of[end] for i, of in enumerate(choices)) for end in (0, -1)]
            error = refused(ends[0])
            if error is not None and refused(ends[1]) is not None:
                raise _explained(error, config)


def _loader() -> ConfigLoader:
    """Hydra's loader in this process."""
    return GlobalHydra.instance().config_loader()


def _tried(override: Override) -> Iterator[str]:
    """An override with each of its values; of a range or an interval with the first and the last one."""
    key, value = override.get_key_element(), override.value()
    if key == "run_dir":  # no value of a part: each folder is checked by its own run
        return
    if isinstance(value, IntervalSweep):
        yield from (f"{key}={end}" for end in (value.start, value.end))
    elif override.is_discrete_sweep():
        found = [f"{key}={value}" for value in override.sweep_string_iterator()]
        yield from [found[0], found[-1]] if isinstance(value, RangeSweep) else found
    else:
        yield str(override.input_line)


def _refused(config: DictConfig, overrides: Sequence[str]) -> ConfigError | None:
    """Why a run may not have these values; None where it may, or where Hydra says so itself."""
    from vae_lab.config.check import check  # late: they import torch
    from vae_lab.config.replaced import leave_out_untaken

    try:
        run = _loader().load_sweep_config(config, list(overrides))
        leave_out_untaken(run, list(overrides))
        check(OmegaConf.masked_copy(run, [str(key) for key in run if key != "hydra"]))
    except ConfigError as error:
        return error
    except (HydraException, OmegaConfBaseException):
        return None
    return None


def _explained(error: ConfigError, config: DictConfig) -> ConfigError:
    """The error, with how a list is written where the comma of a list was taken for one between values."""
    usual = OmegaConf.select(config, error.key)
    given, _, reason = str(error).removeprefix(f"{error.key}=").partition(": ")
    if isinstance(usual, ListConfig) and not given.startswith("["):
        remedy = f"commas separate the values of a sweep, a list has brackets: {error.key}={typed(list(usual))}"
        return ConfigError(error.key, given, f"{reason}; {remedy}")
    return error
