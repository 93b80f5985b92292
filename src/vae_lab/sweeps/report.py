"""What ``task=report`` writes: ``sweep.csv``, ``report.html`` and a short table for the terminal."""

import csv
from io import StringIO
from pathlib import Path

from vae_lab.config.settings import name_of, shown
from vae_lab.files.atomic import replace_file
from vae_lab.paths import argument
from vae_lab.sweeps.best_setting import best_command, how_sure, mean_and_spread, over_seeds, row_of, warning
from vae_lab.sweeps.html_report import page
from vae_lab.sweeps.runs import TEST
from vae_lab.sweeps.sweep import Sweep

ROWS = 12  # of the table on the terminal


def write(sweep_dir: Path) -> None:
    """Write ``sweep.csv`` and ``report.html`` into a folder of runs, and print their summary.

    Args:
        sweep_dir: folder that holds the runs, at any depth.

    Raises:
        RunFolderError: if the folder holds no runs.
    """
    sweep = Sweep(Path(sweep_dir))
    replace_file(sweep.folder / "sweep.csv", csv_of(sweep))
    replace_file(sweep.folder / "report.html", page(sweep))
    print(summary(sweep))


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


def summary(sweep: Sweep) -> str:
    """The table of settings, the answer, what did not finish, and where the report is."""
    reason = warning(sweep)
    lines = [*(["", reason] if reason else []), "", *_table(sweep)]
    if sweep.settings and not reason:
        best = sweep.settings[0]
        measured = f"test {sweep.quantity.name} {mean_and_spread(best, TEST)}"
        lines += ["", f"best: {best.label}, {measured}, {over_seeds(best)}"]
        lines += how_sure(sweep)
        if command := best_command(sweep):
            lines += ["", command]
    if sweep.unfinished:
        lines += ["", *(f"{run.status}: {run.name}: {run.failure or '-'}" for run in sweep.unfinished[:ROWS])]
        lines += [f"… and {len(sweep.unfinished) - ROWS} more"] if len(sweep.unfinished) > ROWS else []
    watch = f"tensorboard {argument('--logdir', sweep.folder)}"
    return "\n".join([*lines, "", f"report: {sweep.folder / 'report.html'}", watch])


def _table(sweep: Sweep) -> list[str]:
    names = [sweep.chosen_by.name, f"test {sweep.quantity.name}", *sweep.terms, "seconds"]
    rows = [[*map(name_of, sweep.keys), *names]]
    rows += [[*sweep.shown(setting), *row_of(setting, sweep)] for setting in sweep.settings[:ROWS]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    more = len(sweep.settings) - ROWS
    return [*lines, f"… and {more} more in sweep.csv"] if more > 0 else lines
