"""``report.html``: one page that holds everything and asks no network for anything.

Runs may come from strangers: every text of theirs is escaped, and the page allows no script.
"""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from string import Template

from matplotlib.figure import Figure

from vae_lab.figures import sweeps as figures
from vae_lab.figures.sweeps import Axis, Curve, Measured, Value
from vae_lab.sweeps.conclusion import best_command, figure_of, how_sure, over_seeds, seed_commands
from vae_lab.sweeps.runs import Run, nelbo_by_epoch
from vae_lab.sweeps.settings import Setting, Sweep, label_of, levels_of, name_of, shown, values_of

TEMPLATE = Path(__file__).with_name("report.html")
SIDE_BY_SIDE = 4  # sample grids
PIXELS_PER_INCH = 96  # of a page; the pictures themselves are finer
LONGEST = 60  # characters of a text inside a figure


def page(sweep: Sweep) -> str:
    """The whole page."""
    counts = [(status, sum(run.status == status for run in sweep.runs)) for status in ("finished", "failed", "cut off")]
    swept = ", ".join(map(name_of, sweep.keys)) or "nothing but seeds"
    runs = "1 run" if len(sweep.runs) == 1 else f"{len(sweep.runs)} runs"
    subtitle = f"{runs}: {', '.join(f'{n} {status}' for status, n in counts if n)} · swept: {swept}"
    parts = [_answer(sweep), _figures(sweep), _samples(sweep), _table(sweep), _unfinished(sweep), _facts(sweep)]
    title = f"Sweep {sweep.folder.resolve().name}"
    return Template(TEMPLATE.read_text()).substitute(
        title=escape(title), subtitle=escape(subtitle), body="\n".join(part for part in parts if part)
    )


def drawn(sweep: Sweep) -> dict[str, Figure]:
    """The figures of a sweep with their headings: what the swept keys do, and the curves of all runs."""
    if not sweep.settings:
        return {}
    found = {_heading(sweep): _over_keys(sweep)}
    curves = [
        Curve(_curve_label(sweep, run), *zip(*points, strict=True))
        for setting in sweep.settings
        for run in setting.runs
        if (points := nelbo_by_epoch(run.history))
    ]
    if curves:
        found["Learning curves"] = figures.learning_curves(curves, sweep.chosen_by)
    return found


def _answer(sweep: Sweep) -> str:
    if not sweep.settings:
        return _section("No run finished", "<p>What stopped them stands below.</p>")
    best = sweep.settings[0]
    lines = [
        f'<p class="setting">{escape(best.label)}</p>',
        f'<p><span class="number">{escape(figure_of(best, "test/nelbo"))}</span> '
        f"test NELBO, nats per image, {over_seeds(best)} · {sweep.chosen_by} {figure_of(best, 'best/nelbo')}</p>",
        *(f"<p>{escape(sentence)}</p>" for sentence in how_sure(sweep)),
        '<p class="soft">The best run, ready to paste:</p>',
        _command(best_command(sweep)),
    ]
    if seeds := seed_commands(sweep):
        lines += ['<p class="soft">To know how sure that is:</p>', *map(_command, seeds)]
    answer = _section("Best setting", "\n".join(lines), "answer")
    if sweep.is_on_one_scale:
        return answer
    warning = (
        "<p>These runs differ in their data, their pixels or their likelihood: "
        "their NELBOs are not on one scale, and the order says nothing across that difference.</p>"
    )
    return _section("Not one scale", warning, "warning") + answer


def _command(command: str | None) -> str:
    if command is None:
        return "<p>Its config cannot be said as overrides; it lies in the run's config.yaml.</p>"
    return f"<pre>{escape(command)}</pre>"


def _figures(sweep: Sweep) -> str:
    made = [
        _section(heading, _picture(_png(figure), heading, width=PIXELS_PER_INCH * figure.get_figwidth()))
        for heading, figure in drawn(sweep).items()
    ]
    return f'<div class="figures">{"".join(made)}</div>' if made else ""


def _heading(sweep: Sweep) -> str:
    if not sweep.axes:
        return "NELBO by seed"
    names = [name_of(axis[0]) for axis in sweep.axes]
    return f"{sweep.chosen_by[:1].upper()}{sweep.chosen_by[1:]} over {', '.join(names)}"


def _over_keys(sweep: Sweep) -> Figure:
    settings, name = sweep.settings, sweep.chosen_by
    measured = [_measured(setting, "best/nelbo") for setting in settings]
    axes = [_axis(keys, settings) for keys in sweep.axes]
    if not axes:
        runs = sorted(settings[0].runs, key=lambda run: str(run.seed).zfill(10))
        metrics = {name: "best/nelbo", "test NELBO": "test/nelbo"}
        return figures.seeds(
            {title: [(_plain(str(run.seed)), run.metrics[metric]) for run in runs] for title, metric in metrics.items()}
        )
    if len(axes) == 1:
        runs_of = [
            (value, run.metrics["best/nelbo"])
            for value, setting in zip(axes[0].values, settings, strict=True)
            for run in setting.runs
        ]
        test = [_measured(setting, "test/nelbo") for setting in settings]
        return figures.line(axes[0], {name: measured, "test NELBO": test}, runs_of)
    # a search that tries every value once has no grid
    cells = len(axes[0].levels) * len(axes[1].levels)
    if len(axes) == 2 and cells <= 4 * len(settings):
        return figures.heat_map(axes[1], axes[0], measured, name)
    return figures.parallel(axes, measured, name)


def _measured(setting: Setting, name: str) -> Measured:
    return Measured(setting.mean(name), setting.sd(name))


def _axis(keys: Sequence[str], settings: Sequence[Setting]) -> Axis:
    """Keys that change hand in hand are one axis, named by the first."""
    key = keys[0]
    levels = levels_of(key, settings)
    numeric = all(isinstance(level, int | float) and not isinstance(level, bool) for level in levels)

    def on_axis(value: object) -> Value:
        return float(value) if numeric and isinstance(value, int | float) else _plain(shown(key, value))

    more = f"\n(and {len(keys) - 1} more with it)" if len(keys) > 1 else ""
    values = [on_axis(setting.values.get(key)) for setting in settings]
    return Axis(_plain(f"{name_of(key)}{more}"), values, list(dict.fromkeys(map(on_axis, levels))))


def _plain(text: str) -> str:
    """Text inside a figure: matplotlib would read formulas between dollar signs."""
    return (text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…").replace("$", r"\$")


def _curve_label(sweep: Sweep, run: Run) -> str:
    """The setting, by one key of each axis; the seed where that is all there is to tell runs by."""
    values = values_of(run, [axis[0] for axis in sweep.axes])
    return (label_of(values) or f"seed={run.seed}").replace("$", r"\$")


def _label_of(sweep: Sweep, run: Run) -> str:
    return f"{label_of(values_of(run, sweep.keys))}  seed={run.seed}".strip()


def _samples(sweep: Sweep) -> str:
    """The sample grids of the best setting's best seeds, or of the best run of each of the best settings."""
    runs = [setting.runs[0] for setting in sweep.settings] if len(sweep.settings) > 1 else sweep.finished
    pictures = []
    for run in runs[:SIDE_BY_SIDE]:
        file = run.path / "figures" / "samples.png"
        if file.exists():
            nelbo = f"test NELBO {run.metrics['test/nelbo']:.2f}"
            caption = f"<figcaption><code>{escape(_label_of(sweep, run))}</code><br>{nelbo}</figcaption>"
            pictures.append(f"<figure>{caption}{_picture(file.read_bytes(), 'samples')}</figure>")
    if not pictures:
        return ""
    return _section("Samples of the best", f'<div class="samples">{"".join(pictures)}</div>')


def _table(sweep: Sweep) -> str:
    if not sweep.settings:
        return ""
    names = [name_of(key) for key in sweep.keys]
    figures_of = ("best/nelbo", "test/nelbo", "test/kl", "test/reconstruction")
    head = [*names, "seeds", sweep.chosen_by, "test NELBO", "test KL", "test reconstruction", "training / s"]
    rows = []
    for setting in sweep.settings:
        cells = [_cell(shown(key, setting.values[key]) if key in setting.values else "–") for key in sweep.keys]
        cells.append(_cell(str(len(setting.runs)), "right"))
        cells += [_cell(figure_of(setting, name), "right") for name in figures_of]
        cells.append(_cell(figure_of(setting, "train/seconds", 1), "right"))
        rows.append(cells)
    classes = [""] * len(names) + ["right"] * 6
    unit = '<p class="soft">Nats per image, mean ± standard deviation over seeds; every run stands in sweep.csv.</p>'
    return _section("All settings", _html_table(head, classes, rows, "ranked") + unit)


def _unfinished(sweep: Sweep) -> str:
    if not sweep.unfinished:
        return ""
    rows = []
    for run in sweep.unfinished:
        label = _label_of(sweep, run) if run.settings else run.name
        reason = run.failure or "the same command continues it"
        rows.append([_cell(label, "wide"), _cell(run.status, "failed"), _cell(reason, "wide")])
    return _section("Not finished", _html_table(["run", "", "reason"], ["", "", ""], rows, "plain"))


def _facts(sweep: Sweep) -> str:
    facts = {name: sweep.facts(name) for name in ("data", "binarization", "device", "versions")}
    if sweep.facts("is_likelihood") == ["False"]:
        facts["figures"] = ["cross-entropy on grey levels, not a likelihood"]
    seconds = [run.metrics["train/seconds"] for run in sweep.finished if "train/seconds" in run.metrics]
    facts["training"] = [f"{sum(seconds):,.1f} s in all"] if seconds else []
    rows = [f"<dt>{name}</dt><dd>{escape('; '.join(values))}</dd>" for name, values in facts.items() if values]
    return _section("Where and with what", f"<dl>{''.join(rows)}</dl>")


def _section(heading: str, body: str, kind: str = "") -> str:
    return f'<section class="{kind}"><h2>{escape(heading)}</h2>\n{body}</section>'


def _html_table(head: Iterable[str], classes: Iterable[str], rows: Iterable[Sequence[str]], kind: str) -> str:
    titles = "".join(f'<th class="{of}">{escape(name)}</th>' for name, of in zip(head, classes, strict=True))
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    table = f'<table class="{kind}"><thead><tr>{titles}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<div class="scroll">{table}</div>'


def _cell(text: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(text)}</td>'


def _png(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _picture(png: bytes, what: str, width: float | None = None) -> str:
    """A picture inside the page, as wide in pixels as asked for where there is room."""
    data = base64.b64encode(png).decode()
    size = f' width="{width:.0f}"' if width else ""
    return f'<img alt="{escape(what)}"{size} src="data:image/png;base64,{data}">'
