"""Seconds from `python -m vae_lab` to its first training step: python benchmarks/start.py [ROUNDS]

Beside it the bare import of torch and lightning, in turns; medians with ranges. The data are in the cache, byte code
is written, one thread.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

# the program, which says when the first call of training_step begins
FIRST_STEP = """
import sys, time
from vae_lab.training.module import Training
steps = Training._steps_to_take
def first(training):
    print("first step at", time.time(), file=sys.stderr)
    Training._steps_to_take = steps
    return steps(training)
Training._steps_to_take = first
from vae_lab.cli import main
main()
"""


def bare_import() -> float:
    """Seconds of a process that imports torch and lightning and ends there."""
    started = time.time()
    command = [sys.executable, "-c", "import torch, lightning, time; print(time.time())"]
    return float(subprocess.check_output(command)) - started


def first_step() -> float:
    """Seconds of a run to its first step."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["debug=fast", "trainer.accelerator=cpu", f"hydra.run.dir={folder}/run"]
        started = time.time()
        command = [sys.executable, "-c", FIRST_STEP, *arguments]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(ended.stderr.partition("first step at ")[2].split()[0]) - started


def main(rounds: int) -> None:
    """Measure in turns and print."""
    os.environ["OMP_NUM_THREADS"] = "1"
    pairs = [(bare_import(), first_step()) for _ in range(rounds)]
    for name, seconds in (
        ("import torch, lightning", [bare for bare, _ in pairs]),
        ("to the first step", [first for _, first in pairs]),
        ("beyond the import", [first - bare for bare, first in pairs]),
    ):
        print(f"{name:24} {statistics.median(seconds):5.2f} s ({min(seconds):.2f} – {max(seconds):.2f})")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
