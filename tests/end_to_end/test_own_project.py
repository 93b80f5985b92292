"""A researcher's story: an empty folder, own parts and images, sweeps, a report, an evaluation, a loaded model."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from helpers import MAIN, TINY, finish, start_warm
from vae_lab.new import make

QUICK = [word for word in TINY if not word.startswith(("latent_dim", "hidden_dims", "data."))]
SMALL = ("experiment=first", "debug=fast", "encoder.width=8", "data.batch_size=32")
LOADS = "import sys, vae_lab; print(*vae_lab.load(sys.argv[1], trust=sys.argv[2:]).sample(2).shape)"


@pytest.fixture
def project(tmp_path):
    """A new project with 300 pictures in colour in three folders and an array of 200 grey images."""
    folder = tmp_path / "mylab"
    make(folder)
    random = np.random.default_rng(0)
    for kind in range(3):
        (folder / "pictures" / f"kind {kind}").mkdir(parents=True)
        for i in range(100):
            pixels = random.integers(0, 60, (48, 40, 3), dtype=np.uint8)
            pixels[4 * kind : 4 * kind + 20, 5:30, kind] = 255
            Image.fromarray(pixels).save(folder / "pictures" / f"kind {kind}" / f"{i}.png")
    squares = np.zeros((200, 32, 32), np.uint8)
    for i in range(200):
        squares[i, i % 20 : i % 20 + 8, 10 * (i % 2) : 10 * (i % 2) + 9] = 200
    np.savez(folder / "grey.npz", images=squares, labels=np.arange(200) % 2)
    return folder


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        pytest.param(("data=images", "data.root=pictures"), "2 3 48 40", id="pictures"),
        pytest.param(("data=arrays", "data.file=grey.npz"), "2 1 32 32", id="arrays", marks=pytest.mark.slow),
    ],
)
def test_own_parts_and_own_images_go_all_the_way(project, tmp_path, data, shape):
    def vae_lab(*words: str) -> subprocess.CompletedProcess:
        here = f"import sys; sys.path.insert(0, ''); {MAIN}"  # as python -m has it
        options = {"folder": project, "root": tmp_path / "cache", "script": here}
        return finish(start_warm("--config-dir", "conf", *words, **options))

    swept = vae_lab("-m", *data, *SMALL, *QUICK, "prior=laplace,mixture", "seed=0,1", "sweep_dir=sweep")
    assert swept.returncode == 0, swept.stderr
    page = (project / "sweep" / "report.html").read_text()
    assert "Laplace" in page
    assert "mixture" in page
    runs = sorted(file.parent for file in (project / "sweep").glob("*/metrics.json"))
    assert len(runs) == 4
    run = next(folder for folder in runs if "laplace" in folder.name)

    evaluate = (
        "task=evaluate",
        f"run_dir='{run}'",
        "evaluation.k=3",
        "evaluation.samples=20",
        "trainer.accelerator=cpu",
    )
    refused = vae_lab(*evaluate, "debug=fast")
    assert refused.returncode == 2
    assert "trust=[mylab]" in refused.stderr
    assert "Traceback" not in refused.stderr
    evaluated = vae_lab(*evaluate, "debug=fast", "trust=[mylab]")
    assert evaluated.returncode == 0, evaluated.stderr
    metrics = json.loads((run / "metrics.json").read_text())
    assert {"test/nll_iwae_3", "judge/frechet_distance"} <= metrics.keys()

    # another process, in another folder, which finds the package only by its path
    found = f"import sys; sys.path.append({str(project)!r}); {LOADS}"
    done = finish(start_warm(str(run), "mylab", folder=tmp_path, script=found))
    assert done.stdout.strip() == shape, done.stderr
    done = finish(start_warm(str(run), folder=tmp_path, script=found))
    assert done.returncode != 0
    assert "RunFolderError" in done.stderr
    assert "mylab" in done.stderr
