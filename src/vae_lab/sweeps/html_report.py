"""``report.html``: one page that holds everything and needs no network.

Runs may come from strangers: the template escapes every text, and the page allows no script.
"""

import base64
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vae_lab.config.settings import name_of
from vae_lab.sweeps.best_setting import (
    best_command,
    how_sure,
    mean_and_spread,
    over_seeds,
    row_of,
    seed_commands,
    warning,
)
from vae_lab.sweeps.plots import drawn
from vae_lab.sweeps.runs import BEST, TEST, Run
from vae_lab.sweeps.sweep import Sweep, label_of, values_of

SIDE_BY_SIDE = 4  # grids of samples
PIXELS_PER_INCH = 96  # of a page; the pictures themselves are finer


def page(sweep: Sweep) -> str:
    """The whole page."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return templates.get_template("report_template.html").render(
        title=f"Sweep {sweep.folder.resolve().name}",
        subtitle=_subtitle(sweep),
        criterion=sweep.quantity,
        chosen_by=sweep.chosen_by.name,
        warning=warning(sweep),
        best=_best(sweep) if sweep.settings and sweep.is_on_one_scale else None,
        figures=_figures(sweep),
        samples=_samples(sweep),
        columns=[name_of(key) for key in sweep.keys],
        terms=sweep.terms,
        rows=[(sweep.shown(each), [str(len(each.runs)), *row_of(each, sweep)]) for each in sweep.settings],
        unfinished=[
            (_label(sweep, run) if run.settings else run.name, run.status, run.failure) for run in sweep.unfinished
        ],
        facts=_facts(sweep),
    )


def _subtitle(sweep: Sweep) -> str:
    counts = [(status, sum(run.status == status for run in sweep.runs)) for status in ("finished", "failed", "cut off")]
    swept = ", ".join(map(name_of, sweep.keys)) or "nothing but seeds"
    runs = "1 run" if len(sweep.runs) == 1 else f"{len(sweep.runs)} runs"
    return f"{runs}: {', '.join(f'{n} {status}' for status, n in counts if n)} · swept: {swept}"


def _best(sweep: Sweep) -> dict[str, Any]:
    best = sweep.settings[0]
    return {
        "label": best.label,
        "test": mean_and_spread(best, TEST),
        "chosen": mean_and_spread(best, BEST),
        "over_seeds": over_seeds(best),
        "how_sure": how_sure(sweep),
        "command": best_command(sweep),
        "seed_commands": seed_commands(sweep),
    }


def _figures(sweep: Sweep) -> list[tuple[str, str, int]]:
    """Heading, picture and width in pixels of each figure."""
    found = []
    for heading, figure in drawn(sweep).items():
        figure.savefig(file := BytesIO(), format="png")
        found.append((heading, _base64(file.getvalue()), round(PIXELS_PER_INCH * figure.get_figwidth())))
    return found


def _samples(sweep: Sweep) -> list[tuple[str, str, str]]:
    """Label, test figure and sample grid of the best setting's best seeds, or of the best run of each setting."""
    runs = [setting.runs[0] for setting in sweep.settings] if len(sweep.settings) > 1 else sweep.finished
    files = [(run, run.path / "figures" / "samples.png") for run in runs[:SIDE_BY_SIDE]]
    return [
        (_label(sweep, run), f"{run.figure(TEST):.2f}", _base64(file.read_bytes()))
        for run, file in files
        if file.exists()
    ]


def _facts(sweep: Sweep) -> dict[str, str]:
    facts = {name: sweep.facts(name) for name in ("data", "binarization", "device", "versions")}
    if sweep.facts("is_likelihood") == ["False"]:
        facts["figures"] = ["cross-entropy on grey levels, not a likelihood"]
    elif sweep.facts("is_density") == ["True"]:
        facts["figures"] = ["log-densities of pixels, not probabilities"]
    seconds = [run.metrics["train/seconds"] for run in sweep.finished if "train/seconds" in run.metrics]
    facts["training"] = [f"{sum(seconds):,.1f} s in all"] if seconds else []
    return {name: "; ".join(values) for name, values in facts.items() if values}


def _label(sweep: Sweep, run: Run) -> str:
    return f"{label_of(values_of(run, sweep.keys))}  seed={run.seed}".strip()


def _base64(picture: bytes) -> str:
    return base64.b64encode(picture).decode()
