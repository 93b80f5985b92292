"""How much of log p(x) − ELBO is the family's, and how much the encoder's."""

import torch
from matplotlib.figure import Figure

from vae_lab.evaluation.gaps import Gaps
from vae_lab.figures.style import COLOURS, TWO_COLUMNS, new_figure, styled

PARTS = {"approximation gap": COLOURS[0], "amortisation gap": COLOURS[1]}


@styled()
def gaps_of_images(found: Gaps) -> Figure:
    """The mean of both gaps as one bar from −log p(x) to the NELBO, and the gaps of each image.

    Args:
        found: gaps of each image in nats.
    """
    figure = new_figure(TWO_COLUMNS, 3.2)
    left, right = figure.subplots(1, 2)
    values = dict(zip(PARTS, (found.approximation, found.amortisation), strict=True))
    edges = torch.linspace(*torch.cat(list(values.values())).aminmax(), 41).tolist()
    start = -found.log_prob.mean().item()
    left.axhline(start, color="black", linewidth=1)
    for name, value in values.items():
        mean, error = value.mean().item(), (value.std() / len(value) ** 0.5).item()
        text = f"{name}: {mean:.2f} ± {error:.2f}"
        left.bar([0], [mean], bottom=start, width=0.5, color=PARTS[name], alpha=0.8, label=text)
        start += mean
        right.hist(value.tolist(), bins=edges, histtype="step", linewidth=1.2, color=PARTS[name], label=name)
    total = (found.log_prob - found.elbo).mean().item()
    # from a little below −log p(x), with room for the legend above the NELBO
    left.set_ylim(start - 1.15 * total, start + 0.5 * max(total, 1e-3))
    left.set(xticks=[], xlim=(-0.6, 0.6), ylabel="nats per image")
    left.set_title(f"−log p(x) {start - total:.2f} to NELBO {start:.2f}")
    right.set(xlabel="nats", ylabel="images")
    for axes in (left, right):
        axes.legend(loc="upper right", fontsize=7)
    figure.suptitle(f"{len(found.elbo):,} test images")
    return figure
