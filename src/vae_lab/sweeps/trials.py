"""The runs of a search: Optuna chooses their settings, Hydra's launcher runs them, Optuna learns what they gave."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.utils import JobReturn
from omegaconf import DictConfig
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    check_distribution_compatibility,
)

from vae_lab.errors import ConfigError
from vae_lab.sweeps.storage import storage_of
from vae_lab.sweeps.swept_values import swept

log = logging.getLogger(__name__)


def space_of(config: DictConfig) -> tuple[dict[str, BaseDistribution], list[str]]:
    """What a search chooses the values of each key from, and the overrides that all its runs have.

    Args:
        config: config of the multirun, with Hydra's own part.

    Raises:
        ConfigError: if there is nothing to choose.
    """
    overrides = swept(config)
    space = {key: distribution for key, distribution in map(_choices, overrides) if distribution is not None}
    if not space:
        raise ConfigError("hydra/sweeper", "search", "nothing is left to choose; give a key an interval, or values")
    return space, [str(override.input_line) for override in overrides if not override.is_sweep_override()]


def check_space(space: Mapping[str, BaseDistribution], study: optuna.Study) -> None:
    """Refuse choices of a key that do not fit those of the runs that the search already has.

    Args:
        space: what the values of each key are chosen from.
        study: the search.

    Raises:
        ConfigError: names the key.
    """
    for trial in study.get_trials(deepcopy=False):
        for key in space.keys() & trial.distributions.keys():
            before = trial.distributions[key]
            try:
                check_distribution_compatibility(before, space[key])
            except ValueError as error:
                reason = f"this search has chosen from {_named(before)} before; use that, or name another sweep_dir"
                raise ConfigError(key, _named(space[key]), reason) from error


def _named(distribution: BaseDistribution) -> str:
    choices = getattr(distribution, "choices", None)
    return "an interval" if choices is None else ",".join(map(str, choices))


def run_all(sweeper: Any) -> list[JobReturn]:
    """Ask for settings, run them, and tell what they gave, until there are as many runs as wanted.

    Args:
        sweeper: Hydra's sweeper, ``hydra_plugins.vae_lab_search.Search``.
    """
    space, fixed = space_of(sweeper.config)
    storage = storage_of(sweeper.storage)
    study = optuna.load_study(study_name=sweeper.study_name, storage=storage, sampler=sweeper.sampler)
    returns: list[JobReturn] = []
    while len(returns) < sweeper.n_trials:
        count = min(sweeper.n_jobs, sweeper.n_trials - len(returns))
        trials = [study.ask(space) for _ in range(count)]
        words = [_words(trial, fixed) for trial in trials]
        results = sweeper.launcher.launch(words, initial_job_idx=len(returns))
        for trial, result in zip(trials, results, strict=True):
            study.tell(trial, float(result.return_value))
        returns += results
    log.info("Best value: %s with %s", study.best_value, " ".join(_settings(study.best_params)))
    return returns


def _words(trial: optuna.Trial, fixed: Sequence[str]) -> list[str]:
    """The overrides of a run, with its number in the search."""
    return [*_settings(trial.params), *fixed, f"hydra.sweeper.trial={trial.number}"]


def _settings(params: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in params.items()]


def _choices(override: Override) -> tuple[str, BaseDistribution | None]:
    """The key of an override, and what Optuna chooses its value from; None for a single value.

    Raises:
        ConfigError: for a scale that the values cannot have.
    """
    key, value = override.get_key_element(), override.value()
    if isinstance(value, IntervalSweep):
        low, high, log_scale = value.start, value.end, "log" in value.tags
        if isinstance(low, int) and isinstance(high, int):
            return key, IntDistribution(low, high, log=log_scale)
        assert low is not None
        assert high is not None
        return key, FloatDistribution(low, high, log=log_scale)
    if isinstance(value, RangeSweep):
        return key, _steps(override, value)
    if not override.is_sweep_override():
        return key, None
    # as texts, so that each becomes exactly what was typed; in one order, which Optuna needs
    texts = dict.fromkeys(override.sweep_string_iterator())
    return key, CategoricalDistribution(sorted(texts) if getattr(value, "shuffle", False) else list(texts))


def _steps(override: Override, value: RangeSweep) -> IntDistribution | FloatDistribution:
    """The values of a range, which as everywhere in Hydra ends before its end."""
    if "log" in value.tags:
        reason = "a range has no scale; use tag(log, interval(A, B))"
        raise ConfigError(override.key_or_group, str(override.input_line).partition("=")[2], reason)
    values = sorted(value.range())
    step = abs(value.step)
    if all(isinstance(one, int) for one in values):
        return IntDistribution(values[0], values[-1], step=int(step))
    return FloatDistribution(float(values[0]), float(values[-1]), step=float(step))
