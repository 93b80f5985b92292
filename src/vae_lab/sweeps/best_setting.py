"""What a sweep answers: the best setting, how sure that is, and the commands that repeat it."""

from collections.abc import Sequence

from vae_lab.config.settings import command, key_of
from vae_lab.figures.quantities import quantity_of
from vae_lab.sweeps.comparisons import Baseline, difference
from vae_lab.sweeps.overrides import overrides_of
from vae_lab.sweeps.runs import TEST, Run
from vae_lab.sweeps.sweep import Setting, Sweep
from vae_lab.sweeps.tables import measured, size_sentence

SEEDS = (0, 1, 2)


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


def how_sure(sweep: Sweep, baseline: Baseline | None = None) -> list[str]:
    """The best setting beside the next one and the baseline, and sizes, in sentences; empty where nothing finished."""
    if not sweep.settings:
        return []
    more = [sentence for sentence in (baseline and baseline.sentence, size_sentence(sweep)) if sentence]
    return [*_beside_the_next(sweep), *more]


def _beside_the_next(sweep: Sweep) -> list[str]:
    best, *others = sweep.settings
    name, sentences = f"test {sweep.quantity.name}", []
    if len(best.runs) > 1:
        values = sorted(best.figures(TEST))
        sentences.append(f"Test {sweep.quantity.name} of its best seed {values[0]:.2f}, of its worst {values[-1]:.2f}.")
    if not others or len(sweep.criteria) > 1:
        return sentences
    apart = others[0].mean(TEST) - best.mean(TEST)
    compared = f"Next best: {others[0].label}, {name} {measured(others[0], TEST).text}"
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
