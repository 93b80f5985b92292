"""Everything that is said of a GPU, checked and measured on one, in under nine minutes.

python benchmarks/gpu.py [PART ...] [--cpu FILE]

Parts, all where none is named: tests, speed, run, evaluation, sweep, best. Each has a process and a time limit of its
own, so that one that fails or hangs does not stop the others; its failure is in the report, and the exit code is 1.
Writes docs/gpu.md. With --cpu everything is done with tiny sizes on a CPU, to see that it runs, and the report goes
to FILE.
"""

import argparse
import contextlib
import csv
import datetime
import io
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from gpu_loops import by_hand, by_lightning
from omegaconf import OmegaConf

from vae_lab import cli
from vae_lab.config.build import build_model, build_training
from vae_lab.paths import CONF

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "docs" / "gpu.md"

MODELS = {
    "default": [],
    "notebook": ["experiment=notebook_kl"],
    "conv": ["encoder=conv", "decoder=conv"],
}
TINY = ["trainer.accelerator=cpu", "data.batch_size=20", "trainer.limit_train_batches=3", "trainer.limit_val_batches=1"]
TINY += ["trainer.limit_test_batches=1", "data.eval_batch_size=20"]
# one by one: recipes have settings of some figures, which callbacks=none would leave without a figure
NONE = OmegaConf.to_container(OmegaConf.load(CONF / "callbacks" / "none.yaml"))
assert isinstance(NONE, dict)
QUIET = [f"callbacks.{name!s}=null" for name in NONE if name != "defaults"]

HEAD = """# On a GPU

{device}, {versions}, {date}. Made by `python benchmarks/gpu.py`.
"""


def run(cpu: bool, *words: str, folder: Path) -> dict[str, Any]:
    """The program in this process, as a user starts it; the metrics of its run, or nothing where it makes none.

    Args:
        cpu: whether with tiny sizes on a CPU.
        words: words of the command line.
        folder: folder of the run.
    """
    tiny = TINY if "task=evaluate" not in words else TINY[:1]  # a finished run keeps its sizes
    sys.argv = ["vae_lab", *words, *(tiny if cpu else ["trainer.accelerator=gpu"])]
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            cli.main()
    except SystemExit as end:
        if end.code:
            raise RuntimeError(f"{' '.join(words)}: exit code {end.code}") from end
    print(printed.getvalue(), file=sys.stderr)
    file = folder / "metrics.json"
    return json.loads(file.read_text()) if file.exists() else {}


def tests(cpu: bool, _: Path) -> list[str]:
    """The tests marked ``gpu``; without a GPU each is skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/test_gpu.py", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout, done.stderr, file=sys.stderr)
    if done.returncode or (not cpu and " passed" not in done.stdout):
        raise RuntimeError("; ".join(line for line in done.stdout.splitlines() if line.startswith("FAILED"))[:600])
    return [f"`pytest -m gpu`: {done.stdout.strip().splitlines()[-1].strip('= ')}."]


def speed(cpu: bool, folder: Path) -> list[str]:
    """Steps per second of three models in four loops, and how busy the device is in ours."""
    device, steps = torch.device("cpu" if cpu else "cuda"), 3 if cpu else 300
    epochs = "1" if cpu else "3"
    lines = [
        "Training steps per second: the whole program with `trainer.graphs=auto` and `false` (three epochs, the",
        "capture included), default Lightning with a DataLoader, and a graph captured by hand over resident data.",
        "Busy: share of the time of training in which the device computed, in the program.",
        "",
        "| model | batch | vae_lab | graphs=false | default Lightning | graph by hand | busy |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, overrides in MODELS.items():
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose("config", [*overrides, *(TINY if cpu else [])])
        batch, dynamic = config.data.batch_size, config.data.binarization == "dynamic"
        ours = []
        for graphs in ("auto", "false"):
            there = folder / f"{name.split()[0]}_{graphs}"
            words = [*overrides, *QUIET, f"trainer.graphs={graphs}", f"trainer.max_epochs={epochs}"]
            ours.append(run(cpu, *words, f"hydra.run.dir={there}", folder=there)["train/images_per_second"] / batch)
        others = []
        for loop in (by_lightning, by_hand):
            training = build_training(config, build_model(config, (1, 28, 28)))
            others.append(loop(training.model, training.loss, batch, dynamic, device, steps))
        there = folder / f"{name.split()[0]}_busy"
        share = busy(cpu, *overrides, *QUIET, "trainer.max_epochs=1", f"hydra.run.dir={there}", folder=there)
        rates = " | ".join(f"{rate:,.0f}" for rate in (*ours, *others))
        lines.append(f"| {name} | {batch} | {rates} | {share:.0%} |")
    return lines


def busy(cpu: bool, *words: str, folder: Path) -> float:
    """Share of a run's training time in which the device computed, from torch's profiler."""
    activity = torch.profiler.ProfilerActivity
    with torch.profiler.profile(activities=[activity.CPU if cpu else activity.CUDA]) as profile:
        seconds = run(cpu, *words, folder=folder)["train/seconds"]
    name = "self_cpu_time_total" if cpu else "self_device_time_total"
    return float(sum(getattr(event, name) for event in profile.key_averages())) / 1e6 / seconds


def default_run(cpu: bool, folder: Path) -> list[str]:
    """The default run from the command to its end."""
    started = time.perf_counter()
    there, words = folder / "run", ["trainer.max_epochs=1"] if cpu else []
    found = run(cpu, f"hydra.run.dir={there}", *words, folder=there)
    seconds = time.perf_counter() - started
    return [
        f"`python -m vae_lab`: {seconds:.1f} s without the imports, {found['train/seconds']:.1f} s of it training "
        f"({found['train/images_per_second']:,.0f} images/s), test NELBO {found['test/nelbo']:.2f}."
    ]


def evaluation(cpu: bool, folder: Path) -> list[str]:
    """The bound at k = 5000 of all test images."""
    there, k = folder / "run", 3 if cpu else 5000
    run(cpu, *QUIET, f"hydra.run.dir={there}", "trainer.max_epochs=1", folder=there)
    started = time.perf_counter()
    words = ["task=evaluate", f"run_dir={there}", f"evaluation.k={k}", "evaluation.samples=none"]
    found = run(cpu, *words, folder=there)
    seconds = time.perf_counter() - started
    return [
        f"`task=evaluate evaluation.k={k}` of the {int(found['test/n']):,} test images, after one epoch: "
        f"{seconds:.1f} s."
    ]


def sweep(cpu: bool, folder: Path) -> list[str]:
    """The 18 runs of ``sweep=lr_coeff_hidden``, four at once on the one device."""
    words = [sys.executable, "-m", "vae_lab", "-m", "sweep=lr_coeff_hidden", f"sweep_dir={folder}/sweep"]
    words += TINY if cpu else ["trainer.accelerator=gpu", "hydra/launcher=parallel", "hydra.launcher.n_jobs=4"]
    words += [*QUIET, f"trainer.max_epochs={1 if cpu else 5}"]
    if cpu:
        words.append("optimizer.lr=1e-3")
    started = time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True)
    print(done.stdout, done.stderr, file=sys.stderr)
    seconds = time.perf_counter() - started
    runs = len(list((folder / "sweep").glob("*/metrics.json")))
    if done.returncode or runs != (6 if cpu else 18):
        raise RuntimeError(f"{runs} runs, exit code {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    told = next((line for line in done.stdout.splitlines() if "memory:" in line), "")
    how = "one after the other" if cpu else "four at once (`hydra/launcher=parallel hydra.launcher.n_jobs=4`)"
    return [f"`sweep=lr_coeff_hidden`, {runs} runs of {1 if cpu else 5} epochs, {how}: {seconds:.0f} s. {told}".strip()]


def best(cpu: bool, folder: Path) -> list[str]:
    """The first two minutes of ``experiment=best_gpu``: how fast it is, and its curve."""
    there = folder / "run"
    longest = "trainer.max_time='00:00:01:45'"
    # the machine of a CPU may have no compiler
    tiny = ["decoder.width=4", "decoder.layers=2", "compile=false", "trainer.max_epochs=1"]
    words = tiny if cpu else [longest]
    found = run(cpu, "experiment=best_gpu", *words, *QUIET, f"hydra.run.dir={there}", folder=there)
    with (there / "metrics.csv").open() as file:
        rows = [(row["epoch"], row["val/nelbo"]) for row in csv.DictReader(file)]
    return [
        f"`experiment=best_gpu`, its first 105 s: {found['train/images_per_second']:,.0f} images/s.",
        "",
        "| epoch | validation NELBO |",
        "|---|---|",
        *(f"| {int(epoch) + 1} | {float(nelbo):.2f} |" for epoch, nelbo in rows),
    ]


# seconds that each part may take: together under nine minutes
PARTS: dict[str, tuple[Callable[[bool, Path], list[str]], int]] = {
    "tests": (tests, 80),
    "speed": (speed, 115),
    "run": (default_run, 50),
    "evaluation": (evaluation, 40),
    "sweep": (sweep, 90),
    "best": (best, 145),
}


def alone(name: str, cpu: bool) -> None:
    """One part in this process; what it found is printed as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        lines = PARTS[name][0](cpu, Path(folder))
    print(json.dumps(lines))


def measured(name: str, cpu: bool) -> tuple[list[str], bool]:
    """A part in a process of its own: lines of the report, and whether it worked."""
    limit = PARTS[name][1] * (10 if cpu else 1)  # a CPU may be busy with other things
    words = [sys.executable, str(Path(__file__).resolve()), name, "--alone", *(["--cpu", "-"] if cpu else [])]
    started = time.perf_counter()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )
    try:
        out, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # and what it started
        process.communicate()
        return [f"**Failed**: took more than {limit} s."], False
    print(f"{name}: {time.perf_counter() - started:.0f} s, exit code {process.returncode}", file=sys.stderr)
    if process.returncode:
        print(err, file=sys.stderr)
        return [f"**Failed**: {(err.strip().splitlines() or ['no reason was given'])[-1]}"], False
    return json.loads(out.strip().splitlines()[-1]), True


def main(parts: Sequence[str], report: Path, cpu: bool) -> int:
    """Measure, write the report; returns the exit code."""
    device = platform.processor() or platform.machine() if cpu else torch.cuda.get_device_name()
    versions = f"torch {torch.__version__}, lightning {lightning.__version__}, Python {platform.python_version()}"
    head = HEAD.format(device=device, versions=versions, date=datetime.date.today().isoformat())
    text, works = [head + ("\nWith tiny sizes on a CPU: the figures say nothing.\n" if cpu else "")], True
    for name in parts:
        lines, worked = measured(name, cpu)
        text.append("\n".join([f"## {name}", "", *lines, ""]))
        works &= worked
        report.write_text("\n".join(text))  # after each part, so that nothing is lost
    print("\n".join(text))
    return 0 if works else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--cpu", metavar="FILE", help="tiny sizes on a CPU; the report goes to FILE")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = [name for name in given.parts if name not in PARTS]
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    if given.alone:
        alone(given.parts[0], given.cpu is not None)
    elif given.cpu is None and not torch.cuda.is_available():
        parser.error("there is no GPU here; --cpu FILE tries everything with tiny sizes")
    else:
        where = Path(given.cpu).resolve() if given.cpu else REPORT
        sys.exit(main(given.parts or list(PARTS), where, given.cpu is not None))
