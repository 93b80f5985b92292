"""What a sweep answers: the best setting, how sure that is, and the commands that repeat it."""

from collections.abc import Sequence
from typing import NamedTuple

from vae_lab.config.settings import command, key_of
from vae_lab.figures.quantities import quantity_of
from vae_lab.sweeps.overrides import overrides_of
from vae_lab.sweeps.runs import BEST, TEST, Run
from vae_lab.sweeps.sweep import BITS, Setting, Sweep

SEEDS = (0, 1, 2)
DIGITS = {BITS: 3}  # after the point, where that is not two


class Difference(NamedTuple):
    """How far two settings are apart, after Welch (1947), https://doi.org/10.2307/2332510.

    Args:
        mean: mean of the second setting minus mean of the first.
        error: standard error of that difference.
        by_chance: number of standard errors that chance alone stays below 19 times in 20.
    """

    mean: float
    error: float
    by_chance: float

    @property
    def in_errors(self) -> float:
        """The difference in standard errors."""
        return abs(self.mean) / self.error


def difference(first: Setting, second: Setting, name: str) -> Difference | None:
    """How much larger a figure is with the second setting; None where the seeds give no standard deviation."""
    if not (first.sd(name) and second.sd(name)):
        return None
    from scipy import stats  # late: it takes a second to import

    found = stats.ttest_ind(second.figures(name), first.figures(name), equal_var=False)
    low, high = found.confidence_interval(0.95)
    by_chance = float(stats.t.ppf(0.975, found.df))
    return Difference(second.mean(name) - first.mean(name), float(high - low) / (2 * by_chance), by_chance)


def mean_and_spread(setting: Setting, name: str, digits: int = 2) -> str:
    """A figure as mean ± standard deviation over seeds; a dash where a run lacks it."""
    if not setting.has(name):
        return "–"
    sd = setting.sd(name)
    return f"{setting.mean(name):.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def row_of(setting: Setting, sweep: Sweep) -> list[str]:
    """The figures of a setting in a table: criterion, the same of the test, its terms, seconds of training."""
    names = (BEST, TEST, *sweep.terms.values())
    figures = [mean_and_spread(setting, name, DIGITS.get(name, 2)) for name in names]
    return [*figures, mean_and_spread(setting, "train/seconds", 1)]


def over_seeds(setting: Setting) -> str:
    """The number of seeds that a mean is taken over."""
    n = len(setting.runs)
    return "one seed" if n == 1 else f"mean ± standard deviation over {n} seeds"


def warning(sweep: Sweep) -> str | None:
    """Why the order of the settings may say nothing; None where all runs are on one scale."""
    if sweep.is_on_one_scale:
        return None
    if len(sweep.criteria) > 1:
        names = ", ".join(quantity_of(name).name for name in sweep.criteria)
        reason = f"are chosen by different figures ({names}): these"
    else:
        reason = f"differ in their data, their pixels or their likelihood: their {sweep.quantity.name}s"
    return f"These runs {reason} are not on one scale, and the order says nothing across that difference."


def how_sure(sweep: Sweep) -> list[str]:
    """The best setting beside the next one, in sentences; empty where nothing finished."""
    if not sweep.settings:
        return []
    best, *others = sweep.settings
    name, sentences = f"test {sweep.quantity.name}", []
    if len(best.runs) > 1:
        values = sorted(best.figures(TEST))
        sentences.append(f"Test {sweep.quantity.name} of its best seed {values[0]:.2f}, of its worst {values[-1]:.2f}.")
    if not others or len(sweep.criteria) > 1:
        return sentences
    apart = others[0].mean(TEST) - best.mean(TEST)
    compared = f"Next best: {others[0].label}, {name} {mean_and_spread(others[0], TEST)}"
    way = "higher" if apart > 0 else "lower"
    found = difference(best, others[0], TEST)
    if found is None:
        sentences.append(f"{compared}: {way} by {abs(apart):.2f}.")
        return [*sentences, "How much of that is chance is not known: this needs several seeds of both."]
    sentences.append(
        f"{compared}: {way} by {abs(apart):.2f} ± {found.error:.2f}, "
        f"{found.in_errors:.1f} standard errors of the difference."
    )
    verdict = "That is more than chance" if found.in_errors > found.by_chance else "That can be chance"
    limit = f"with these seeds, chance alone stays below {found.by_chance:.1f} standard errors 19 times in 20"
    return [*sentences, f"{verdict}: {limit}."]


def best_command(sweep: Sweep) -> str | None:
    """The command that repeats the best run; None where its folder does not say its overrides."""
    return _command(sweep.settings[0].runs[0]) if sweep.settings else None


def seed_commands(sweep: Sweep) -> list[str]:
    """The commands that repeat the best two settings over seeds, where one of them has a single seed."""
    best = sweep.settings[:2]
    if not best or all(len(setting.runs) > 1 for setting in best):
        return []
    return [found for setting in best if (found := _command(setting.runs[0], SEEDS))]


def _command(run: Run, seeds: Sequence[int] = ()) -> str | None:
    overrides = overrides_of(run.path)
    if overrides is None:
        return None
    return command([item for item in overrides if not (seeds and key_of(item) == "seed")], seeds)
