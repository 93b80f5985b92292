"""Runs as they lie on the disk, made without training."""

import json

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vae_lab.paths import CONF


@pytest.fixture
def make_run(tmp_path):
    """Makes a run folder named by its overrides, finished with a test NELBO unless it is None."""

    def make(*overrides: str, nelbo: float | None = 100.0, folder: str = "sweep", **metrics):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            config = compose("config", list(overrides))
        path = tmp_path / folder / (",".join(overrides) or "default")
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(OmegaConf.to_yaml(config, resolve=True))
        rows = [f"{epoch},{nelbo + 50 / (epoch + 1)},{nelbo + 9 / (epoch + 1)}" for epoch in range(3)] if nelbo else []
        (path / "metrics.csv").write_text("\n".join(["epoch,train/nelbo,val/nelbo", *rows]) + "\n")
        if nelbo is not None:
            measured = {
                "data": "mnist",
                "binarization": config.data.binarization,
                "is_likelihood": True,
                "device": "cpu (1 threads)",
                "versions": "python 3",
                "best/nelbo": nelbo,
                "best/val/nelbo": nelbo,
                "test/nelbo": nelbo + 1,
                "test/kl": 20.0,
                "test/reconstruction": nelbo - 19,
                "train/seconds": 2.5,
            }
            (path / "metrics.json").write_text(json.dumps(measured | metrics))
        return path

    return make
