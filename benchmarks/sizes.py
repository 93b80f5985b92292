"""How the speed depends on the sizes: python benchmarks/sizes.py [ROUNDS]

Images per second of `python -m vae_lab` and of the bare loop with the same setup of the machine, at batch
32 … 4096, latent 2 … 128 and widths 64 … 4096 around one model, in turns, each in its own process on one core.
Writes docs/images/sizes.png.
"""

import statistics
import sys
from collections import defaultdict

from matplotlib.figure import Figure
from rivals import Model
from speed import DOCS, OTHERS, OURS, measure

MIDDLE = Model(latent=20, hidden=[512, 512], batch=128, images=60_000, epochs=1)
AXES = {
    "images a batch": {size: MIDDLE._replace(batch=size) for size in (32, 128, 512, 4096)},
    "latent dimensions": {size: MIDDLE._replace(latent=size) for size in (2, 8, 32, 128)},
    "width of two hidden layers": {
        64: MIDDLE._replace(hidden=[64, 64], epochs=4),
        256: MIDDLE._replace(hidden=[256, 256]),
        1024: MIDDLE._replace(hidden=[1024, 1024]),
        4096: MIDDLE._replace(hidden=[4096, 4096], images=30_000),
    },
}
LOOPS = {"tuned": "bare loop", "vae_lab": "python -m vae_lab"}


def chart(found: dict[str, dict[str, dict[int, list[float]]]]) -> Figure:
    """A panel for what is varied, a line for each loop."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    for axes, (what, loops) in zip(figure.subplots(1, len(found), sharey=True), found.items(), strict=True):
        for loop, name in LOOPS.items():
            points = {size: statistics.median(rates) for size, rates in loops[loop].items()}
            colour = OURS if loop == "vae_lab" else OTHERS
            axes.plot(list(points), list(points.values()), marker="o", color=colour, label=name)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.set_xticks(list(points), [f"{size:,}" for size in points])
        axes.minorticks_off()
        axes.set_xlabel(what)
        axes.grid(axis="y", color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
    first = figure.axes[0]
    first.set_ylabel("training images per second")
    first.legend(frameon=False)
    return figure


def main(rounds: int) -> None:
    """Measure in turns, print, draw."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {
        what: {loop: defaultdict(list) for loop in LOOPS} for what in AXES
    }
    for _ in range(rounds):
        for what, models in AXES.items():
            for size, model in models.items():
                for loop in LOOPS:
                    found[what][loop][size].append(measure(loop, model).images_per_second)
    for what, loops in found.items():
        for size in AXES[what]:
            bare, ours = (statistics.median(loops[loop][size]) for loop in LOOPS)
            print(f"{what:28} {size:5}  bare loop {bare:9,.0f}  vae_lab {ours:9,.0f}  ratio {ours / bare:.2f}")
    chart(found).savefig(DOCS / "images" / "sizes.png", dpi=120)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
