"""What a sweep answers: which setting, and how sure."""

from collections.abc import Sequence

from hydra.errors import HydraException

from vae_lab.config.settings import command, overrides_of
from vae_lab.sweeps.runs import CLASS, Run
from vae_lab.sweeps.settings import Setting, Sweep, difference, name_of, shown

SEEDS = (0, 1, 2)


def figure_of(setting: Setting, name: str, digits: int = 2) -> str:
    """A metric as mean ± standard deviation over seeds; a dash where a run lacks it."""
    if not setting.has(name):
        return "–"
    sd = setting.sd(name)
    return f"{setting.mean(name):.{digits}f}" + ("" if sd is None else f" ± {sd:.{digits}f}")


def over_seeds(setting: Setting) -> str:
    """Of how many seeds a figure is the mean."""
    n = len(setting.runs)
    return "one seed" if n == 1 else f"mean ± standard deviation over {n} seeds"


def how_sure(sweep: Sweep) -> list[str]:
    """The best setting beside the next one, in sentences; empty where nothing finished."""
    if not sweep.settings:
        return []
    best, *others = sweep.settings
    sentences = []
    if len(best.runs) > 1:
        nelbos = sorted(run.metrics["test/nelbo"] for run in best.runs)
        sentences.append(f"Test NELBO of its best seed {nelbos[0]:.2f}, of its worst {nelbos[-1]:.2f}.")
    if not others:
        return sentences
    apart = others[0].mean("test/nelbo") - best.mean("test/nelbo")
    compared = f"Next best: {others[0].label}, test NELBO {figure_of(others[0], 'test/nelbo')}"
    way = "higher" if apart > 0 else "lower"
    found = difference(best, others[0], "test/nelbo")
    if found is None:
        sentences.append(f"{compared}: {way} by {abs(apart):.2f}.")
        return [*sentences, "How much of that is chance is not known: that takes several seeds of both."]
    sentences.append(
        f"{compared}: {way} by {abs(apart):.2f} ± {found.error:.2f}, "
        f"{found.in_errors:.1f} standard errors of the difference."
    )
    verdict = "That is more than chance" if found.in_errors > found.by_chance else "That can be chance"
    limit = f"with these seeds, chance alone stays below {found.by_chance:.1f} standard errors 19 times in 20"
    return [*sentences, f"{verdict}: {limit}."]


def best_command(sweep: Sweep) -> str | None:
    """The command that repeats the best run; None where its config cannot be said as overrides."""
    return _command(sweep, sweep.settings[0].runs[0], ()) if sweep.settings else None


def seed_commands(sweep: Sweep) -> list[str]:
    """The commands that repeat the best two settings over seeds, where that is not yet known."""
    best = sweep.settings[:2]
    if not best or all(len(setting.runs) > 1 for setting in best):
        return []
    return [found for setting in best if (found := _command(sweep, setting.runs[0], SEEDS))]


def _command(sweep: Sweep, run: Run, seeds: Sequence[int]) -> str | None:
    """The run's own overrides, and those swept values that are the defaults and need none."""
    if run.config is None:
        return None
    try:
        overrides = overrides_of(run.config)
    except HydraException:
        return None
    named = {item.lstrip("+").partition("=")[0] for item in overrides}
    if "experiment" not in named:
        keys = [key for key in sweep.keys if key in run.settings and name_of(key) not in named]
        overrides += [f"{name_of(key)}={shown(key, run.settings[key])}" for key in keys if not _is_inner(key)]
    return command([item for item in overrides if not (seeds and item.startswith("seed="))], seeds)


def _is_inner(key: str) -> bool:
    """Whether a key is the class of something inside a part, which no choice of the part names."""
    return key.endswith(CLASS) and "." in name_of(key)
