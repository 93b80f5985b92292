"""Images per second of a default run on an idle machine and beside busy loops, by threads and how long they spin.

python benchmarks/threads.py
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

LOOPS, ROUNDS = (0, 3), 3
# how libgomp waits where nobody says it: 300,000 turns, and a thread for each core
WAYS = {
    "as torch chooses": ("300000", f"threads={os.cpu_count()}"),
    "**as vae_lab chooses**": ("", "threads=auto"),
    "`threads=1`": ("", "threads=1"),
}
SHORT = ("trainer.max_epochs=1", "trainer.limit_train_batches=60")
LONG = ("trainer.max_epochs=3",)


def images_per_second(spins: str, threads: str, length: tuple[str, ...]) -> float:
    """Speed of the program.

    Args:
        spins: turns that a waiting thread makes before it sleeps; empty for the program's own choice.
        threads: override of the number of threads.
        length: overrides of how long it trains.
    """
    environment = os.environ | ({"GOMP_SPINCOUNT": spins} if spins else {})
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vae_lab", "trainer=cpu", "callbacks=none", threads, *length]
        subprocess.run([*command, f"hydra.run.dir={folder}/run"], env=environment, check=True, capture_output=True)
        return float(json.loads((Path(folder) / "run" / "metrics.json").read_text())["train/images_per_second"])


def main() -> None:
    """Print a row for each way."""
    print("| threads |", " | ".join(f"{loops} busy loops" for loops in LOOPS), "|\n|---|---|---|")
    cells: dict[str, list[str]] = {way: [] for way in WAYS}
    for loops in LOOPS:
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
        try:
            length = SHORT if loops else LONG
            found = [{way: images_per_second(*said, length) for way, said in WAYS.items()} for _ in range(ROUNDS)]
        finally:
            for process in busy:
                process.kill()
        for way in WAYS:
            speeds = [speed[way] for speed in found]
            cells[way].append(f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} – {max(speeds):,.0f})")
    for way, row in cells.items():
        print(f"| {way} |", " | ".join(row), "|")


if __name__ == "__main__":
    main()
