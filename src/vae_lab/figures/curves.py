"""Numbers as curves and histograms: figures by epoch, bounds by image, estimates by number of samples."""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vae_lab.evaluation.kl_estimates import KLEstimates
from vae_lab.figures.quantities import Quantity, quantity_of
from vae_lab.figures.style import new_figure
from vae_lab.models import Bounds

SPLITS = {"train": "training", "val": "validation"}
NELBO = quantity_of("nelbo")
NELBO_AND_TERMS = {
    "nelbo": NELBO,
    "reconstruction": Quantity("reconstruction", NELBO.unit),
    "kl": Quantity("KL", NELBO.unit),
}


def by_epoch(history: Sequence[dict[str, float]], criterion: str) -> Figure:
    """Figures of training and validation by epoch, a panel for each: the NELBO and its two terms, or all figures.

    Args:
        history: a row for each epoch, with ``epoch`` and figures named ``train/…`` and ``val/…``.
        criterion: name of the figure that runs are chosen by.
    """
    shown = NELBO_AND_TERMS if criterion == "nelbo" else _all_of(history, criterion)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    figure = new_figure(3.5 * columns, 3.3 * rows)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, (name, quantity) in zip(panels, shown.items(), strict=False):
        _draw_by_epoch(axes, history, name)
        axes.set(xlabel="epoch", ylabel=quantity.label)
    for axes in panels[len(shown) :]:
        axes.remove()
    lines = {str(line.get_label()): line for axes in panels for line in axes.lines}
    if lines:
        panels[0].legend(list(lines.values()), list(lines), loc="upper right", frameon=False)
    return figure


def bounds_of_images(found: Bounds, k: int) -> Figure:
    """Histogram over images of the NELBO and of the importance-weighted bound, with their means.

    Args:
        found: both bounds of each image in nats, from the same k samples of z.
        k: number of samples of z for each image.
    """
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    edges = torch.linspace(*torch.cat((found.nelbo, found.nll)).aminmax(), 101).tolist()
    for values, name in ((found.nelbo, "NELBO"), (found.nll, f"−log p(x), bound at k = {k:,}")):
        axes.hist(values.tolist(), bins=edges, alpha=0.5, label=f"{name}: mean {values.double().mean():.2f}")
    axes.set(xlabel="nats per image", ylabel="images")
    axes.margins(y=0.3)  # room for the legend
    axes.legend(loc="upper right", frameon=False)
    figure.suptitle(f"{len(found.nll):,} test images", fontsize=10)
    return figure


def outputs_of_discriminator(real: Tensor, fake: Tensor) -> Figure:
    """Histograms of a discriminator's outputs of real images and of samples, with their means.

    Args:
        real: outputs of real images, (n,).
        fake: outputs of samples, (m,).
    """
    figure = new_figure(6.5, 3.6)
    axes = figure.subplots()
    edges = torch.linspace(*torch.cat((real, fake)).aminmax(), 61).tolist()
    for values, name in ((real, "test images"), (fake, "samples")):
        axes.hist(values.tolist(), bins=edges, density=True, alpha=0.5, label=f"{name}: mean {values.mean():.2f}")
    axes.set(xlabel="output of the discriminator", ylabel="density")
    axes.margins(y=0.3)  # room for the legend
    axes.legend(loc="upper right", frameon=False)
    return figure


def estimate_by_samples(found: KLEstimates) -> Figure:
    """The Monte Carlo estimate of the KL against the number of samples, with a band of two standard errors.

    Args:
        found: estimates and errors in nats per image, and the value that they approach.
    """
    figure = new_figure(7.0, 3.6)
    axes = figure.subplots()
    axes.axhline(found.value, color="black", linewidth=1, label=f"{found.method}: {found.value:.5f}")
    n, estimate, error = found.counts.numpy(), found.estimate.numpy(), found.error.numpy()
    low, high = estimate - 2 * error, estimate + 2 * error
    axes.fill_between(n, low, high, alpha=0.25, linewidth=0, label="± 2 standard errors")
    axes.plot(n, estimate, marker="o", markersize=3, label=f"Monte Carlo: {estimate[-1]:.5f} at the end")
    axes.set(xlabel="samples of z an image", ylabel="KL(q ‖ p) / nats per image")
    # the first point, of one sample, would flatten the rest
    reach = 2.5 * float(error[1] if len(error) > 1 else error[0])
    axes.set_ylim(found.value - reach, found.value + reach)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", frameon=False, ncols=3, fontsize=8)
    return figure


def _all_of(history: Sequence[dict[str, float]], criterion: str) -> dict[str, Quantity]:
    """The criterion, then every other figure of training or validation, without the number of images."""
    found = [name.split("/", 1) for row in history for name in row if "/" in name]
    others = [name for split, name in found if split in SPLITS and name != "n"]
    return {name: quantity_of(name) for name in (criterion, *others)}


def _draw_by_epoch(axes: Axes, history: Sequence[dict[str, float]], name: str) -> None:
    for prefix, split in SPLITS.items():
        rows = [(row["epoch"] + 1, row[f"{prefix}/{name}"]) for row in history if f"{prefix}/{name}" in row]
        if rows:
            epochs, values = zip(*rows, strict=True)
            colour = f"C{list(SPLITS).index(prefix)}"  # the same in each panel, whichever splits it has
            marker = "o" if len(rows) < 12 else None
            axes.plot(epochs, values, label=split, color=colour, linewidth=1.5, marker=marker, markersize=3)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
