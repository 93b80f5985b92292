"""Figures: tensors in, a matplotlib figure out. They know no model and no trainer.

Images are (…, 1, height, width) in [0, 1], on any device; 0 is drawn white, as ink on paper.
"""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vae_lab.evaluation.bounds import Bounds
from vae_lab.evaluation.kl_estimates import Curve

DPI = 120
TERMS = {"nelbo": "NELBO", "reconstruction": "reconstruction", "kl": "KL"}


def tile(images: Tensor, gap: int = 2) -> Tensor:
    """Lay (rows, columns, 1, height, width) images out as one picture, with white gaps between them.

    >>> tile(torch.zeros(2, 3, 1, 28, 28)).shape
    torch.Size([58, 88])
    """
    padded = torch.nn.functional.pad(images.detach().float().cpu(), (0, gap, 0, gap))
    rows, columns, _, height, width = padded.shape
    return padded.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width)[:-gap, :-gap]


def image_rows(images: Tensor, title: str, row_names: Sequence[str] = ()) -> Figure:
    """Rows of images under a title, with a name before each row.

    Args:
        images: (rows, columns, 1, height, width).
        title: what they are.
        row_names: one a row, or none.
    """
    rows, columns = images.shape[:2]
    figure, axes = _figure(max(6.0, 0.62 * columns + (1.3 if row_names else 0)), 0.62 * rows + 0.55)
    _draw_ink(axes, tile(images))
    pitch = images.shape[-2] + 2
    axes.set_yticks([pitch * (i + 0.5) - 1 for i in range(len(row_names))], row_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure


def reconstructions(originals: Tensor, decoded: Tensor) -> Figure:
    """Images above their reconstructions, each (n, 1, height, width)."""
    title = "test images and what the decoder makes of their codes (means)"
    return image_rows(torch.stack((originals.cpu(), decoded.cpu())), title, ("original", "reconstruction"))


def samples(images: Tensor, columns: int) -> Figure:
    """Images decoded from draws of the prior, (n, 1, height, width); n a multiple of columns."""
    return image_rows(images.unflatten(0, (-1, columns)), "samples from the prior (means)")


def interpolation(images: Tensor, names: Sequence[str]) -> Figure:
    """Walks between pairs of codes.

    Args:
        images: (steps, rows, 1, height, width), α from 0 to 1 along the first dimension.
        names: what each walk joins.
    """
    steps = len(images)
    figure = image_rows(images.transpose(0, 1), "z(α) = (1 − α) z₁ + α z₂, decoded (means)", names)
    axes = figure.axes[0]
    pitch = images.shape[-1] + 2
    every = max(1, steps // 10)
    axes.set_xticks(
        [pitch * (i + 0.5) - 1 for i in range(0, steps, every)],
        [f"{i / max(1, steps - 1):.1f}" for i in range(0, steps, every)],
        fontsize=8,
    )
    axes.set_xlabel("α")
    return figure


def copies(drawn: Tensor, originals: Tensor) -> Figure:
    """Samples above the training image that is nearest to each, (n, 1, height, width) both."""
    title = "the samples that lie closest to a training image"
    return image_rows(torch.stack((drawn.cpu(), originals.cpu())), title, ("sample", "training"))


def estimate_by_samples(curve: Curve) -> Figure:
    """The Monte Carlo estimate of the KL against the number of samples, with a band of two standard errors."""
    figure, axes = _figure(7.0, 3.6)
    axes.axhline(curve.value, color="black", linewidth=1, label=f"{curve.method}: {curve.value:.5f}")
    n, estimate, error = curve.counts.numpy(), curve.estimate.numpy(), curve.error.numpy()
    axes.fill_between(
        n, estimate - 2 * error, estimate + 2 * error, alpha=0.25, linewidth=0, label="± 2 standard errors"
    )
    axes.plot(n, estimate, marker="o", markersize=3, label=f"Monte Carlo: {estimate[-1]:.5f} at the end")
    axes.set(xlabel="samples of z an image", ylabel="KL(q ‖ p) / nats per image")
    # the first point, of one sample, would flatten the rest
    reach = 2.5 * float(error[1] if len(error) > 1 else error[0])
    axes.set_ylim(curve.value - reach, curve.value + reach)
    axes.grid(alpha=0.25)
    axes.legend(loc="upper right", frameon=False, ncols=3, fontsize=8)
    return figure


def latent_grid(images: Tensor, reach: float, axis_names: tuple[str, str]) -> Figure:
    """Images decoded from a square grid of codes.

    Args:
        images: (n, n, 1, height, width); the first row has the largest second coordinate.
        reach: the grid spans [−reach, reach] along both axes.
        axis_names: of the horizontal and the vertical coordinate.
    """
    n = len(images)
    figure, axes = _figure(max(4.5, 0.42 * n + 1.1), max(4.5, 0.42 * n + 1.1))
    edge = reach * n / max(1, n - 1)  # the outermost codes lie in the middle of the outermost images
    _draw_ink(axes, tile(images, gap=1), (-edge, edge, -edge, edge))
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    figure.suptitle(f"decoded codes over [−{reach:g}, {reach:g}]² (means)", fontsize=10)
    return figure


def latent_scatter(points: Tensor, labels: Tensor, axis_names: tuple[str, str]) -> Figure:
    """Posterior means in the plane, (n, 2), coloured by label (n,), with a legend."""
    figure, axes = _figure(6.2, 5.2)
    points, labels = points.float().cpu(), labels.cpu()
    for label in labels.unique().tolist():
        chosen = points[labels == label].numpy()
        axes.scatter(chosen[:, 0], chosen[:, 1], s=4, alpha=0.6, linewidths=0, color=f"C{label % 10}", label=str(label))
    axes.set(xlabel=axis_names[0], ylabel=axis_names[1])
    figure.suptitle(f"posterior means of {len(points):,} test images", fontsize=10)
    legend = axes.legend(title="label", markerscale=4, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def nelbo_by_epoch(history: Sequence[dict[str, float]]) -> Figure:
    """NELBO, and its two terms, by epoch: training and validation.

    Args:
        history: one row an epoch with ``epoch`` and ``train/…``, ``val/…`` in nats per image.
    """
    figure = Figure(figsize=(10.5, 3.3), dpi=DPI, layout="constrained")
    panels = figure.subplots(1, 3)
    for axes, term, name in zip(panels, TERMS, TERMS.values(), strict=True):
        for prefix, split in (("train", "training"), ("val", "validation")):
            rows = [(row["epoch"] + 1, row[f"{prefix}/{term}"]) for row in history if f"{prefix}/{term}" in row]
            if rows:
                epochs, values = zip(*rows, strict=True)
                marker = "o" if len(rows) < 12 else None
                axes.plot(epochs, values, label=split, linewidth=1.5, marker=marker, markersize=3)
        axes.set(xlabel="epoch", ylabel=f"{name} / nats per image")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25)
    if history:
        panels[0].legend(loc="upper right", frameon=False)
    return figure


def _draw_ink(axes: Axes, picture: Tensor, extent: tuple[float, float, float, float] | None = None) -> None:
    axes.imshow(picture.numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", extent=extent)


def bounds_of_images(found: Bounds, k: int) -> Figure:
    """Histogram over images of the NELBO and of the importance-weighted bound, with their means.

    Args:
        found: both bounds, a value an image, from the same k samples of z.
        k: samples of z for each image.
    """
    figure, axes = _figure(6.5, 3.6)
    edges = torch.linspace(*torch.cat((found.nelbo, found.nll)).aminmax(), 101).tolist()
    for values, name in ((found.nelbo, "NELBO"), (found.nll, f"−log p(x), bound at k = {k:,}")):
        axes.hist(values.tolist(), bins=edges, alpha=0.5, label=f"{name}: mean {values.double().mean():.2f}")
    axes.set(xlabel="nats per image", ylabel="images")
    axes.margins(y=0.3)  # room for the legend
    axes.legend(loc="upper right", frameon=False)
    figure.suptitle(f"{len(found.nll):,} test images", fontsize=10)
    return figure


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    return figure, figure.subplots()
