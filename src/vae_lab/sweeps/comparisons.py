"""How far settings are apart, and whether that can be chance."""

from collections.abc import Sequence
from typing import NamedTuple

from vae_lab.config.keys import nearest
from vae_lab.config.settings import name_of, shown
from vae_lab.errors import ConfigError
from vae_lab.sweeps.baseline import KEY, is_same, parsed
from vae_lab.sweeps.runs import TEST
from vae_lab.sweeps.sweep import Setting, Sweep

LEVEL = 0.05  # of a test: how often it may find a difference where there is none


class Difference(NamedTuple):
    """How far two settings are apart, after Welch (1947), https://doi.org/10.2307/2332510.

    Args:
        mean: mean of the second setting minus mean of the first.
        error: standard error of that difference.
        by_chance: number of standard errors that chance alone stays below 19 times in 20.
        p: probability that chance alone sets two equal settings at least as far apart.
    """

    mean: float
    error: float
    by_chance: float
    p: float

    @property
    def in_errors(self) -> float:
        """The difference in standard errors."""
        return abs(self.mean) / self.error

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"


def difference(first: Setting, second: Setting, name: str) -> Difference | None:
    """How much larger a figure is with the second setting; None where the seeds give no standard deviation."""
    if not (first.sd(name) and second.sd(name)):
        return None
    from scipy import stats  # late: it takes a second to import

    found = stats.ttest_ind(second.figures(name), first.figures(name), equal_var=False)
    low, high = found.confidence_interval(0.95)
    by_chance = float(stats.t.ppf(0.975, found.df))
    error = float(high - low) / (2 * by_chance)
    return Difference(second.mean(name) - first.mean(name), error, by_chance, float(found.pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """p-values corrected for their number: all of them below 0.05 are right together, 19 times in 20.

    p'₍ᵢ₎ = max_{j ≤ i} min(1, (m − j + 1) p₍ⱼ₎) for p₍₁₎ ≤ … ≤ p₍ₘ₎. Source: Holm (1979),
    https://www.jstor.org/stable/4615733.

    Args:
        p: p-value of each test.

    >>> [round(value, 3) for value in holm([0.04, 0.01, 0.03])]
    [0.06, 0.03, 0.06]
    """
    corrected, least = [0.0] * len(p), 0.0
    for place, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        least = max(least, min(1.0, (len(p) - place) * p[index]))
        corrected[index] = least
    return corrected


class Baseline:
    """The setting that all others are tested against, by the test figure of the criterion.

    Args:
        sweep: runs of the sweep.
        text: settings as the report shows them, ``prior=vamp,loss.coeff=1``.

    Raises:
        ConfigError: if no finished setting of the sweep has these values, or several have.
    """

    def __init__(self, sweep: Sweep, text: str) -> None:
        if not sweep.is_on_one_scale:
            raise ConfigError(
                KEY, text, "these runs are not on one scale, so that none can be a baseline; leave it out"
            )
        self.setting = _found(sweep, text)
        self.differences = [
            None if setting is self.setting else difference(self.setting, setting, TEST) for setting in sweep.settings
        ]
        tested = [found.p for found in self.differences if found is not None]
        corrected = iter(holm(tested))
        self.p = [None if found is None else next(corrected) for found in self.differences]
        self.untested = len(sweep.settings) - 1 - len(tested)

    @property
    def sentence(self) -> str:
        """How many settings differ from it by more than chance."""
        tested = [(found.mean, p) for found, p in zip(self.differences, self.p, strict=True) if found and p is not None]
        name = f"Against the baseline {self.setting.label}"
        if not tested:
            return f"{name}: what is chance is not known, this needs several seeds of both."
        better = sum(p < LEVEL and mean < 0 for mean, p in tested)
        worse = sum(p < LEVEL and mean > 0 for mean, p in tested)
        counted = f"{better} better, {worse} worse, {len(tested) - better - worse} that can be chance"
        rest = f"; {self.untested} not tested, with a single seed" if self.untested else ""
        return f"{name}, of {len(tested)} tested: {counted} (Welch's test, Holm's correction, 5 %){rest}."


def _found(sweep: Sweep, text: str) -> Setting:
    given = parsed(text)
    having = [
        {name_of(key): shown(key, value) for key, value in each.runs[0].settings.items()} for each in sweep.settings
    ]
    if "seed" in given:
        raise ConfigError(KEY, text, "seeds are folded together; leave the seed out")
    for key, value in given.items():
        levels = list(dict.fromkeys(values.get(key, "–") for values in having))
        if levels in ([], ["–"]):
            near = nearest(key, [name for values in having for name in values])
            raise ConfigError(
                KEY, text, f"no finished run has the key {key}" + (f", did you mean {near}?" if near else "")
            )
        if not any(is_same(level, value) for level in levels):
            raise ConfigError(KEY, text, f"no finished setting has it; {key} is {', '.join(levels)}")
    fits = [
        setting
        for setting, values in zip(sweep.settings, having, strict=True)
        if all(is_same(values.get(key, "–"), value) for key, value in given.items())
    ]
    if not fits:
        raise ConfigError(KEY, text, "no finished setting has these values together")
    if len(fits) > 1:
        swept = ", ".join(name for key in sweep.keys if (name := name_of(key)) not in given)
        raise ConfigError(KEY, text, f"{len(fits)} settings have it; name one of them by adding {swept}")
    return fits[0]
