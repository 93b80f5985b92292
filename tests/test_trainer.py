"""Runs of a sweep have one device each, and use the GPUs in turn."""

import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from vae_lab.sweeps.callback import is_one
from vae_lab.tasks.trainer import devices_of_run


@pytest.mark.parametrize("devices", [1, "1", "auto", None, [3], "'1'", "[0]"])
def test_one_device(devices):
    assert is_one(devices)


@pytest.mark.parametrize("devices", [2, -1, "2", "-1", [0, 1], "[0,1]", "0,1", 11])
def test_several_devices(devices):
    assert not is_one(devices)


@pytest.mark.parametrize(
    ("mode", "gpus", "trainer", "expected"),
    [
        (RunMode.MULTIRUN, 4, {"accelerator": "auto", "devices": 1}, [2]),
        (RunMode.MULTIRUN, 4, {"accelerator": "gpu", "devices": "auto"}, [2]),
        (RunMode.MULTIRUN, 4, {"accelerator": "gpu", "devices": [3]}, [3]),
        (RunMode.MULTIRUN, 4, {"accelerator": "cpu", "devices": 1}, 1),
        (RunMode.MULTIRUN, 1, {"accelerator": "auto", "devices": 1}, 1),
        (RunMode.RUN, 4, {"accelerator": "auto", "devices": 1}, 1),
    ],
)
def test_runs_go_round_the_gpus(monkeypatch, mode, gpus, trainer, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(HydraConfig, "initialized", lambda: True)
    monkeypatch.setattr(HydraConfig, "get", lambda: OmegaConf.create({"mode": mode, "job": {"num": 6}}))
    assert devices_of_run(OmegaConf.create(trainer)) == expected
