"""benchmarks/gpu.py, with tiny sizes on a CPU: every part works, and one that fails does not stop the others."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PARTS = ("tests", "speed", "run", "evaluation", "sweep", "best")


def benchmark(*words: str, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(REPOSITORY / "benchmarks" / "gpu.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, cwd=REPOSITORY)


@pytest.mark.slow  # each part is a process of its own: two minutes on an idle core
def test_all_parts_work_with_tiny_sizes_on_a_cpu(tmp_path, mnist_root):
    before = (REPOSITORY / "docs" / "gpu.md").exists()
    done = benchmark("--cpu", str(tmp_path / "gpu.md"), VAE_LAB_DATA=mnist_root)
    report = (tmp_path / "gpu.md").read_text()
    assert done.returncode == 0, report + done.stderr
    assert [line[3:] for line in report.splitlines() if line.startswith("## ")] == list(PARTS)
    assert "the figures say nothing" in report
    assert (REPOSITORY / "docs" / "gpu.md").exists() == before


@pytest.mark.slow
def test_a_part_that_fails_is_in_the_report_and_does_not_stop_the_others(tmp_path):
    (tmp_path / "file").touch()  # in the place of the folder of the data
    done = benchmark("run", "tests", "--cpu", str(tmp_path / "gpu.md"), VAE_LAB_DATA=str(tmp_path / "file"))
    report = (tmp_path / "gpu.md").read_text()
    assert done.returncode == 1
    assert report.index("## run") < report.index("**Failed**") < report.index("## tests")
    assert report.count("**Failed**") == 1


def test_a_part_that_is_not_there_and_a_gpu_that_is_not_there_are_named(tmp_path):
    assert "no such part: sped; there are tests, speed" in benchmark("sped", "--cpu", str(tmp_path / "x")).stderr
