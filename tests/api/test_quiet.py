"""The documented Python example prints no warning."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "python.md"


def test_the_readme_example_trains_without_a_warning(tmp_path, mnist_root):
    example = next(
        code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL) if "Trainer" in code
    )
    # one epoch of few images, in which what Lightning says of limits is not at stake
    short = example.replace("max_epochs=5", "max_steps=16, log_every_n_steps=1").replace("[300, 300]", "[8]")
    assert "max_steps" in short
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", short],
        cwd=tmp_path,
        env=os.environ | {"VAE_LAB_DATA": mnist_root, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stderr
    assert "Tip" not in done.stderr
