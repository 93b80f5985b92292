"""How fast vae_lab trains, beside the loops of rivals.py: python benchmarks/speed.py [ROUNDS [THREADS [SRC]]]

Every loop has its own process, on one core with one thread unless THREADS says more. The loops take turns in
each round, so that changes of the machine's speed affect all of them, and medians with their ranges are reported.
vae_lab is the real program, `python -m vae_lab`, with its default callbacks and loggers. Writes docs/speed.md and
docs/images/speed.png; with SRC, the src folder of another checkout, it compares the two programs and the tuned bare
loop alone, and writes nothing.
"""

import datetime
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from rivals import MODELS, Model, images_of

OURS, OTHERS = "tab:blue", "0.75"
HERE = Path(__file__).parent
DOCS = HERE.parent / "docs"

LOOPS = ("floor", "kept", "tuned", "notebook", "lightning", "pythae", "vae_lab")
NAMES = {
    "floor": "bare loop",
    "kept": "bare loop, freed memory kept",
    "tuned": "bare loop, set up as vae_lab does it",
    "notebook": "notebook loop, DataLoader",
    "lightning": "default Lightning, DataLoader",
    "pythae": "pythae",
    "vae_lab": "**`python -m vae_lab`**",
}
SHORT = {
    "floor": "bare loop",
    "kept": "bare, memory kept",
    "tuned": "bare, set up alike",
    "notebook": "notebook",
    "lightning": "default Lightning",
    "pythae": "pythae",
    "vae_lab": "vae_lab",
}
MODEL_NAMES = {
    "small": "784-128-32-16-2, grey, batch 256",
    "big": "784-512-512-20, grey, batch 128",
    "conv": "convolutional, grey, batch 128",
    "colour": "convolutional, 3 × 32 × 32 levels, batch 128",
    "default": "784-300-300-10, dynamic bits, batch 100",
}

HEAD = """# Speed

Training images per second: medians of {rounds} interleaved rounds (lowest – highest), and their ratio to
the bare loop that keeps freed memory. {machine}, {versions}, {date}; threads: {threads}, on as many cores; MNIST.
The bare loops hold everything in memory, use the fused Adam and log nothing; vae_lab runs with its default callbacks,
logs and checkpoints, and is counted from its first step to the end of training. Peak memory is that of the whole
process, its imports included. Made by `python benchmarks/speed.py`.

![images per second](images/speed.png)
"""

TAIL = """
## By size

`python benchmarks/sizes.py`: the same two loops, `python -m vae_lab` and the bare loop set up as vae_lab
does it, around a net 784-512-512-20 with batches of 128.

![images per second by batch, latent dimensions and width](images/sizes.png)
"""


class Measured(NamedTuple):
    """One run of one loop."""

    images_per_second: float
    peak_mb: float


def overrides(model: Model, folder: Path) -> list[str]:
    """The words after `python -m vae_lab` that make it train this model.

    Args:
        model: what it trains.
        folder: folder for a file of images in colours.
    """
    net = "conv" if model.conv else "mlp"
    hidden = "channels" if model.conv else "hidden_dims"
    data: list[str] = []
    if model.colours:
        images = images_of(model).numpy()
        np.savez(folder / "colours.npz", x_train=images, x_test=images[:100])
        data = ["data=arrays", f"data.file={folder}/colours.npz"]
    return [
        *data,
        f"encoder={net}",
        f"decoder={net}",
        f"encoder.activation={model.activation}",
        f"decoder.activation={model.activation}",
        f"likelihood={model.likelihood}",
        f"latent_dim={model.latent}",
        f"{hidden}={str(model.hidden).replace(' ', '')}",
        f"data.batch_size={model.batch}",
        f"data.binarization={'dynamic' if model.dynamic else 'none'}",
        "data.validation=none",
        "optimizer.lr=1e-3",
        f"trainer.max_epochs={model.epochs}",
        f"trainer.limit_train_batches={-(-model.images // model.batch)}",
        "trainer.limit_test_batches=1",
        "trainer.accelerator=cpu",
    ]


def measure(loop: str, model: Model, threads: int = 1, src: Path | None = None) -> Measured:
    """Run one loop in its own process, on as many of this machine's cores as it has threads.

    Args:
        loop: name of the loop.
        model: what it trains.
        threads: number of threads.
        src: src folder of the checkout that the program is taken from; None is the one that is installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        if loop == "vae_lab":
            command = ["-m", "vae_lab", *overrides(model, Path(folder)), f"hydra.run.dir={folder}/run"]
        else:
            command = [str(HERE / "rivals.py"), loop, json.dumps(model._asdict())]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | ({"PYTHONPATH": str(src)} if src else {})
        with Path(folder, "out").open("w+") as out:
            process = subprocess.Popen([sys.executable, *command], env=environment, stdout=out, stderr=out)
            os.sched_setaffinity(process.pid, range(threads))
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            out.seek(0)
            printed = out.read()
        if process.returncode:
            raise SystemExit(f"{loop} {model} failed:\n{printed}")
        if loop == "vae_lab":
            rate = json.loads(Path(folder, "run", "metrics.json").read_text())["train/images_per_second"]
        else:
            rate = json.loads(printed.splitlines()[-1])["images_per_second"]
    return Measured(rate, usage.ru_maxrss / 1024)


def loops_of(name: str) -> list[str]:
    """The loops that can train this model here."""
    model = MODELS[name]
    without = {"pythae"} if model.conv or model.dynamic or not importlib.util.find_spec("pythae") else set()
    without |= {"notebook", "lightning"} if model.colours else set()  # they read torchvision's MNIST
    return [loop for loop in LOOPS if loop not in without]


def table(name: str, runs: dict[str, list[Measured]]) -> str:
    """One model's loops, slowest first."""
    rates = {loop: [run.images_per_second for run in found] for loop, found in runs.items()}
    medians = {loop: statistics.median(found) for loop, found in rates.items()}
    lines = [
        f"\n## {name}: {MODEL_NAMES[name]}\n",
        "| loop | images/s | ratio | peak MB |",
        "|---|---|---|---|",
    ]
    for loop in sorted(medians, key=lambda loop: medians[loop]):
        spread = f"{min(rates[loop]):,.0f} – {max(rates[loop]):,.0f}"
        peak = statistics.median(run.peak_mb for run in runs[loop])
        lines.append(
            f"| {NAMES[loop]} | {medians[loop]:,.0f} ({spread}) | {medians[loop] / medians['kept']:.2f} | {peak:,.0f} |"
        )
    return "\n".join(lines)


def chart(found: dict[str, dict[str, list[Measured]]]) -> Figure:
    """Bars of images per second, a panel a model."""
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    for axes, (name, runs) in zip(figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True):
        rates = {loop: sorted(run.images_per_second for run in measured) for loop, measured in runs.items()}
        loops = sorted(rates, key=lambda loop: statistics.median(rates[loop]))
        medians = [statistics.median(rates[loop]) for loop in loops]
        below = [median - rates[loop][0] for loop, median in zip(loops, medians, strict=True)]
        above = [rates[loop][-1] - median for loop, median in zip(loops, medians, strict=True)]
        colours = [OURS if loop == "vae_lab" else OTHERS for loop in loops]
        axes.barh(
            [SHORT[loop] for loop in loops], medians, xerr=[below, above], color=colours, error_kw={"linewidth": 1}
        )
        net, _, rest = MODEL_NAMES[name].partition(", ")
        axes.set_title(f"{name}\n{net}\n{rest}", fontsize=9)
        axes.set_xlabel("training images per second")
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.set_major_formatter(EngFormatter(sep=""))
        axes.xaxis.set_major_locator(MaxNLocator(4))
    return figure


def compare(rounds: int, threads: int, src: Path) -> None:
    """This program, that of another checkout and the tuned bare loop in turns: medians, and ratios round by round."""
    for name, model in MODELS.items():
        rates: dict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            rates["now"].append(measure("vae_lab", model, threads).images_per_second)
            rates["other"].append(measure("vae_lab", model, threads, src).images_per_second)
            rates["bare"].append(measure("tuned", model, threads).images_per_second)
        shown = "  ".join(f"{loop} {statistics.median(found):9,.0f}" for loop, found in rates.items())
        ratios = {
            loop: sorted(now / other for now, other in zip(rates["now"], rates[loop], strict=True))
            for loop in ("other", "bare")
        }
        spread = "  ".join(
            f"now/{loop} {statistics.median(found):.3f} ({found[0]:.3f} – {found[-1]:.3f})"
            for loop, found in ratios.items()
        )
        print(f"{threads} threads  {name:8} images/s: {shown}  {spread}", flush=True)


def machine() -> str:
    """The processor, as the system names it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def main(rounds: int, threads: int) -> None:
    """Measure, print, save."""
    found: dict[str, dict[str, list[Measured]]] = {name: defaultdict(list) for name in MODELS}
    for turn in range(rounds):
        for name in MODELS:
            for loop in loops_of(name):
                found[name][loop].append(measure(loop, MODELS[name], threads))
                rate = found[name][loop][-1].images_per_second
                print(f"round {turn + 1}/{rounds}  {name:8} {loop:10} {rate:10,.0f} images/s", file=sys.stderr)
    if not importlib.util.find_spec("pythae"):
        print("pythae is not installed (pip install pythae) and was left out", file=sys.stderr)
    head = HEAD.format(
        rounds=rounds,
        threads=threads,
        machine=machine(),
        versions=f"torch {torch.__version__.partition('+')[0]}",
        date=datetime.date.today().isoformat(),
    )
    text = head + "\n".join(table(name, runs) for name, runs in found.items()) + "\n" + TAIL
    (DOCS / "speed.md").write_text(text)
    chart(found).savefig(DOCS / "images" / "speed.png", dpi=120)
    print(text)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    turns, cores = (int(value) for value in (*arguments[:2], *("5", "1")[len(arguments[:2]) :]))
    if len(arguments) > 2:
        compare(turns, cores, Path(arguments[2]))
    else:
        main(turns, cores)
