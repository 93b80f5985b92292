"""Runs as they are on the disk, made without training."""

import json

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from sweep_reports import samples
from vae_lab.paths import CONF


@pytest.fixture
def make_run(tmp_path):
    """Makes a run folder named by its overrides, finished with a criterion of that value unless it is None."""

    def make(
        *overrides: str, nelbo: float | None = 100.0, folder: str = "sweep", criterion: str | None = None, **metrics
    ):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", list(overrides))
        path = tmp_path / folder / (",".join(overrides) or "default")
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
        rows = [f"{epoch},{nelbo + 50 / (epoch + 1)},{nelbo + 9 / (epoch + 1)}" for epoch in range(3)] if nelbo else []
        name = criterion or "nelbo"  # without the key, as in runs of earlier versions
        (path / "metrics.csv").write_text("\n".join([f"epoch,train/{name},val/{name}", *rows]) + "\n")
        if nelbo is not None:
            measured = {
                "data": "mnist",
                "binarization": config.data.binarization,
                "is_likelihood": True,
                "device": "cpu (1 threads)",
                "versions": "python 3",
                f"best/{name}": nelbo,
                f"best/val/{name}": nelbo,
                f"test/{name}": nelbo + 1,
                "train/seconds": 2.5,
            }
            terms = {"test/kl": 20.0, "test/reconstruction": nelbo - 19}
            measured |= terms if criterion is None else {"criterion": criterion}
            (path / "metrics.json").write_text(json.dumps(measured | metrics))
        return path

    return make


@pytest.fixture
def sweep(make_run, tmp_path):
    """Two learning rates over three seeds, one run that failed and one that was cut off."""
    for lr, nelbo in (("0.001", 100.0), ("0.01", 110.0)):
        for seed in (0, 1, 2):
            run = make_run(f"optimizer.lr={lr}", f"seed={seed}", nelbo=nelbo + seed)
            samples(run / "figures" / "samples.png")
    failed = make_run("optimizer.lr=1.0", "seed=0", nelbo=None)
    (failed / "failure.txt").write_text("epoch 0: the loss was not finite\n")
    make_run("optimizer.lr=1.0", "seed=1", nelbo=None)
    return tmp_path / "sweep"
