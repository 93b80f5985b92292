"""What ``task=report`` writes: ``report.html``, tables, figures, ``sweep.csv``, and a short table for the terminal."""

import csv
import logging
from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import matplotlib

from vae_lab.config.settings import name_of, shown
from vae_lab.files.atomic import replace_file, replacing
from vae_lab.paths import argument
from vae_lab.sweeps.best_setting import best_command, how_sure, over_seeds, warning
from vae_lab.sweeps.comparisons import Baseline
from vae_lab.sweeps.html_report import page
from vae_lab.sweeps.plots import Drawn, drawn
from vae_lab.sweeps.runs import TEST
from vae_lab.sweeps.sweep import Sweep
from vae_lab.sweeps.table_files import latex, markdown
from vae_lab.sweeps.tables import Table, measured, tables

ROWS = 12  # of the table on the terminal


def write(sweep_dir: Path, baseline: str | None = None) -> None:
    """Write the report of a folder of runs into it, and print its summary.

    Args:
        sweep_dir: folder that holds the runs, at any depth.
        baseline: setting that all others are tested against, ``prior=standard_normal``; None tests none.

    Raises:
        RunFolderError: if the folder holds no runs.
        ConfigError: if the sweep has no such setting.
    """
    sweep = Sweep(Path(sweep_dir))
    against = Baseline(sweep, baseline) if baseline else None
    found, figures = tables(sweep, against), drawn(sweep)
    replace_file(sweep.folder / "sweep.csv", csv_of(sweep))
    replace_file(sweep.folder / "table.md", markdown(found))
    replace_file(sweep.folder / "table.tex", latex(found))
    _write_figures(sweep.folder, figures)
    replace_file(sweep.folder / "report.html", page(sweep, found, figures, against))
    print(summary(sweep, found[0], against))


def _write_figures(folder: Path, figures: Mapping[str, Drawn]) -> None:
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it logs each table of each font
    for name, (_, figure, _) in figures.items():
        # TrueType letters, which journals ask for; no time, so that the same runs give the same file
        with matplotlib.rc_context({"pdf.fonttype": 42}), replacing(folder / f"{name}.pdf") as file:
            figure.savefig(file, format="pdf", metadata={"CreationDate": None})


def csv_of(sweep: Sweep) -> str:
    """A row for each run, the best first and unfinished ones last: its folder, swept values, seed and metrics."""
    runs = [*sweep.finished, *sweep.unfinished]
    # a fact that is swept as well has its column already
    taken = {"run", "status", "failure", "seed", *map(name_of, sweep.keys)}
    metrics = [name for name in dict.fromkeys(name for run in runs for name in run.metrics) if name not in taken]
    file = StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["run", "status", "failure", *map(name_of, sweep.keys), "seed", *metrics])
    for run in runs:
        swept = [shown(key, run.settings[key]) if key in run.settings else "" for key in sweep.keys]
        figures = [run.metrics.get(name, "") for name in metrics]
        writer.writerow([run.name, run.status, run.failure or "", *swept, run.seed, *figures])
    return file.getvalue()


def summary(sweep: Sweep, table: Table, baseline: Baseline | None = None) -> str:
    """The table of settings, the answer, what did not finish, and where the report is.

    Args:
        sweep: runs of the sweep.
        table: table of its settings.
        baseline: setting that all others are tested against.
    """
    reason = warning(sweep)
    lines = [*(["", reason] if reason else []), "", *_lines(table)]
    if sweep.settings and not reason:
        best = sweep.settings[0]
        lines += ["", f"best: {best.label}, test {sweep.quantity.name} {measured(best, TEST).text}, {over_seeds(best)}"]
        lines += how_sure(sweep, baseline)
        if command := best_command(sweep):
            lines += ["", command]
    if sweep.unfinished:
        lines += ["", *(f"{run.status}: {run.name}: {run.failure or '-'}" for run in sweep.unfinished[:ROWS])]
        lines += [f"… and {len(sweep.unfinished) - ROWS} more"] if len(sweep.unfinished) > ROWS else []
    watch = f"tensorboard {argument('--logdir', sweep.folder)}"
    return "\n".join([*lines, "", f"report: {sweep.folder / 'report.html'}", watch])


def _lines(table: Table) -> list[str]:
    """The first rows of a table, aligned; their order is their rank."""
    rows = [row[1:] for row in table.texts[: ROWS + 1]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    more = len(table.rows) - ROWS
    return [*lines, f"… and {more} more in sweep.csv"] if more > 0 else lines
