"""``report.html``: one page that holds everything and needs no network.

Runs may come from strangers: the template escapes every text, and the page allows no script but its own, by its hash.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from vae_lab.config.settings import name_of
from vae_lab.sweeps.best_setting import best_command, how_sure, over_seeds, seed_commands, warning
from vae_lab.sweeps.comparisons import Baseline
from vae_lab.sweeps.pictures import grid_of
from vae_lab.sweeps.plots import Drawn
from vae_lab.sweeps.runs import BEST, TEST, Run
from vae_lab.sweeps.sweep import Sweep, label_of, values_of
from vae_lab.sweeps.tables import Table, measured

HERE = Path(__file__).parent
SIDE_BY_SIDE = 4  # grids of samples
PIXELS_PER_INCH = 96  # of a page; the pictures themselves are finer


def page(sweep: Sweep, tables: Sequence[Table], figures: Mapping[str, Drawn], baseline: Baseline | None) -> str:
    """The whole page.

    Args:
        sweep: runs of the sweep.
        tables: its tables; the first is that of all settings.
        figures: its figures, by their names.
        baseline: setting that all others are tested against.
    """
    templates = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (HERE / "report_script.js").read_text(encoding="utf-8")
    return templates.get_template("report_template.html").render(
        title=f"Sweep {sweep.folder.resolve().name}",
        subtitle=_subtitle(sweep),
        script=Markup(script),  # ours, and the only text that is not escaped
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        criterion=sweep.quantity,
        chosen_by=sweep.chosen_by.name,
        warning=warning(sweep),
        best=_best(sweep, baseline) if sweep.settings and sweep.is_on_one_scale else None,
        figures=[_figure(drawn) for drawn in figures.values()],
        samples=_samples(sweep),
        tables=tables if sweep.settings else [],
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


def _best(sweep: Sweep, baseline: Baseline | None) -> dict[str, Any]:
    best = sweep.settings[0]
    return {
        "label": best.label,
        "test": measured(best, TEST).text,
        "chosen": measured(best, BEST).text,
        "over_seeds": over_seeds(best),
        "how_sure": how_sure(sweep, baseline),
        "command": best_command(sweep),
        "seed_commands": seed_commands(sweep),
    }


def _figure(drawn: Drawn) -> dict[str, Any]:
    """Heading, pictures and width in pixels of a figure."""
    return {
        "heading": drawn.heading,
        "png": _png(drawn.figure),
        "narrow": None if drawn.narrow is None else _png(drawn.narrow),
        "width": round(PIXELS_PER_INCH * drawn.figure.get_figwidth()),
    }


def _png(figure: Figure) -> str:
    figure.savefig(file := BytesIO(), format="png")
    return _base64(file.getvalue())


def _samples(sweep: Sweep) -> list[tuple[str, str, str]]:
    """Label, test figure and sample grid of the best setting's best seeds, or of the best run of each setting."""
    runs = [setting.runs[0] for setting in sweep.settings] if len(sweep.settings) > 1 else sweep.finished
    grids = [(run, grid_of(run.path / "figures" / "samples.png")) for run in runs[:SIDE_BY_SIDE]]
    return [(_label(sweep, run), f"{run.figure(TEST):.2f}", _base64(grid)) for run, grid in grids if grid is not None]


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
