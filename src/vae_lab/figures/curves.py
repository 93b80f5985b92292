"""Numbers as curves and histograms: figures by epoch, bounds by image, estimates by number of samples."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vae_lab.evaluation.kl_estimates import KLEstimates
from vae_lab.figures.quantities import Quantity, quantity_of
from vae_lab.figures.style import COLOURS, SMALL, TWO_COLUMNS, new_figure, outline, styled
from vae_lab.models import Bounds

SPLITS = {"train": "training", "val": "validation"}
NELBO = quantity_of("nelbo")
NELBO_AND_TERMS = {
    "nelbo": NELBO,
    "reconstruction": Quantity("reconstruction", NELBO.unit),
    "kl": Quantity("KL", NELBO.unit),
}
FEW = 5  # epochs that are all shown
WARMING = 0.1  # share of the epochs, at the start, that may lie outside an axis

History = Sequence[dict[str, float]]


class Best(NamedTuple):
    """The epoch with the lowest criterion."""

    epoch: float
    value: float


@styled()
def by_epoch(history: History, criterion: str) -> Figure:
    """Figures of training and validation by epoch, a panel for each: the NELBO and its two terms, or all figures.

    The first tenth of the epochs, at least one, does not stretch an axis, unless there are only a few. The epoch with
    the lowest criterion, of validation where there is one, is marked.

    Args:
        history: a row for each epoch, with ``epoch`` and figures named ``train/…`` and ``val/…``.
        criterion: name of the figure that runs are chosen by.
    """
    shown = NELBO_AND_TERMS if criterion == "nelbo" else _all_of(history, criterion)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(TWO_COLUMNS, 2.4 * rows + 0.2)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    best = _best_of(history, criterion)
    for axes, (name, quantity) in zip(panels, shown.items(), strict=False):
        _draw_by_epoch(axes, history, name)
        axes.set(xlabel="epoch", ylabel=quantity.label)
        if best is not None:
            value = best.value if name == criterion else None
            _mark_best(axes, best.epoch, value)
    for axes in panels[len(shown) :]:
        axes.remove()
    lines = {str(line.get_label()): line for axes in panels for line in axes.lines if line.get_label()[0] != "_"}
    if lines:
        figure.legend(list(lines.values()), list(lines), loc="outside upper center", ncols=len(lines))
    return figure


@styled()
def bounds_of_images(found: Bounds, k: int) -> Figure:
    """Histograms over images of the NELBO and of the importance-weighted bound, and of the gap between them.

    Args:
        found: both bounds of each image in nats, from the same k samples of z.
        k: number of samples of z for each image.
    """
    figure = new_figure(TWO_COLUMNS, 2.6)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    values = {
        f"NELBO: mean {found.nelbo.double().mean():.2f}": found.nelbo,
        f"−log p(x), bound at k = {k:,}: mean {found.nll.double().mean():.2f}": found.nll,
    }
    _histograms(left, values, bins=60)
    left.set(xlabel="nats per image", ylabel="images")
    gap = found.nelbo - found.nll
    _histograms(right, {f"mean {gap.double().mean():.2f}": gap}, bins=40, colour=2)
    right.set(xlabel="NELBO − bound / nats", ylabel="images")
    figure.suptitle(f"{len(found.nll):,} test images")
    return figure


@styled()
def outputs_of_discriminator(real: Tensor, fake: Tensor) -> Figure:
    """Histograms of a discriminator's outputs of real images and of samples, with their means.

    Args:
        real: outputs of real images, (n,).
        fake: outputs of samples, (m,).
    """
    figure = new_figure(TWO_COLUMNS * 0.7, 2.6)
    axes = figure.subplots()
    values = {f"{name}: mean {part.mean():.2f}": part for part, name in ((real, "test images"), (fake, "samples"))}
    _histograms(axes, values, bins=60, density=True)
    axes.set(xlabel="output of the discriminator", ylabel="density")
    return figure


@styled()
def estimate_by_samples(found: KLEstimates) -> Figure:
    """The Monte Carlo estimate of the KL against the number L of samples, and its error beside that of 1/√L.

    Args:
        found: estimates and errors in nats per image, and the value that they approach.
    """
    figure = new_figure(TWO_COLUMNS, 2.7)
    left, right = figure.subplots(1, 2)
    n, estimate, error = found.counts.numpy(), found.estimate.numpy(), found.error.numpy()
    left.axhline(found.value, color="black", linewidth=1, label=f"{found.method}: {found.value:.5f}")
    low, high = estimate - 2 * error, estimate + 2 * error
    left.fill_between(n, low, high, alpha=0.25, linewidth=0, label="± 2 standard errors")
    left.plot(n, estimate, marker="o", markersize=2.5, label=f"Monte Carlo: {estimate[-1]:.5f} at the end")
    left.set(xscale="log", xlabel="samples L of z for each image", ylabel="KL(q ‖ p) / nats per image")
    left.margins(y=0.25)  # room for the legend
    left.legend(loc="upper right")
    right.loglog(n, abs(estimate - found.value), "o", markersize=2.5, color=COLOURS[0], label="|estimate − value|")
    guide = error[-1] * (n[-1] / n) ** 0.5
    right.loglog(n, guide, color="black", linewidth=1, label="standard error, ∝ 1/√L")
    right.set(xlabel="samples L of z for each image", ylabel="error / nats per image")
    right.legend(loc="lower left")
    for axes in (left, right):
        axes.grid()
    return figure


def _histograms(axes: Axes, values: dict[str, Tensor], bins: int, density: bool = False, colour: int = 0) -> None:
    """Histograms over the same bins, each with an outline; all but the first without a filling, so that both are seen.

    Args:
        axes: axes to draw on.
        values: the numbers of each histogram, by its name in the legend.
        bins: number of bins.
        density: whether the area of each is 1.
        colour: number of the first one's colour.
    """
    edges = torch.linspace(*torch.cat(list(values.values())).float().aminmax(), bins + 1).tolist()
    for index, (name, numbers) in enumerate(values.items()):
        style: dict[str, Any] = {"edgecolor": COLOURS[colour + 2 * index], "facecolor": "none", "linewidth": 1.2}
        if not index:
            style |= {"facecolor": COLOURS[colour], "linewidth": 0.6, "alpha": 0.5}
        axes.hist(numbers.tolist(), bins=edges, density=density, histtype="stepfilled", label=name, **style)
    axes.margins(y=0.3)  # room for the legend
    axes.legend(loc="upper right")


def _all_of(history: History, criterion: str) -> dict[str, Quantity]:
    """The criterion, then every other figure of training or validation, without the number of images."""
    found = [name.split("/", 1) for row in history for name in row if "/" in name]
    others = [name for split, name in found if split in SPLITS and name != "n"]
    return {name: quantity_of(name) for name in (criterion, *others)}


def _values(history: History, name: str) -> list[tuple[float, float]]:
    """The epochs, counted from 1, and the values of a figure in them."""
    return [(row["epoch"] + 1, row[name]) for row in history if name in row]


def _best_of(history: History, criterion: str) -> Best | None:
    found = _values(history, f"val/{criterion}") or _values(history, f"train/{criterion}")
    return Best(*min(found, key=lambda pair: pair[1])) if found else None


def _draw_by_epoch(axes: Axes, history: History, name: str) -> None:
    drawn = [_values(history, f"{prefix}/{name}") for prefix in SPLITS]
    for values, split, colour in zip(drawn, SPLITS.values(), COLOURS, strict=False):
        if values:
            epochs, heights = zip(*values, strict=True)
            marker = "o" if len(values) < 12 else None  # the same colour in each panel, whichever splits it has
            axes.plot(epochs, heights, label=split, color=colour, marker=marker, markersize=3)
    _leave_start_out(axes, drawn)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes.grid()


def _leave_start_out(axes: Axes, drawn: Sequence[Sequence[tuple[float, float]]]) -> None:
    """End the axis where the later epochs end, if the first ones would stretch it, and say where they lie."""
    starts = [max(1, round(WARMING * len(values))) for values in drawn]
    later = [value for values, start in zip(drawn, starts, strict=True) for _, value in values[start:]]
    first = [value for values, start in zip(drawn, starts, strict=True) for _, value in values[:start]]
    if max(map(len, drawn)) < FEW or len(set(later)) < 2:
        return
    low, high = min(later), max(later)
    room = high - low
    if max(first) > high + room / 2:
        axes.set_ylim(top=high + 0.15 * room)
        _note(axes, 0.98, "top", f"↑ {max(first):.4g}")
    if min(first) < low - room / 2:
        axes.set_ylim(bottom=low - 0.15 * room)
        _note(axes, 0.02, "bottom", f"↓ {min(first):.4g}")
    # the end that is not cut
    bottom, top = axes.get_ylim()
    axes.set_ylim(max(bottom, min(low, *first) - 0.15 * room), min(top, max(high, *first) + 0.15 * room))


def _note(axes: Axes, height: float, side: Literal["top", "bottom"], text: str) -> None:
    """A small text at an end of the axis, beside the curve that leaves it there."""
    outline(axes.text(0.17, height, text, transform=axes.transAxes, fontsize=SMALL, va=side))


def _mark_best(axes: Axes, epoch: float, value: float | None) -> None:
    """A line at the best epoch, and its value where that is known."""
    axes.axvline(epoch, color="0.4", linewidth=0.8, linestyle=":")
    if value is not None:
        label = f"best: {value:.2f} in epoch {epoch:g}"
        axes.plot([epoch], [value], "*", color="black", markersize=7, label=label, zorder=3)
