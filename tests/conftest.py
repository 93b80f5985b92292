"""Fixtures: a fixed seed, a small data set in MNIST's place, and the real MNIST."""

import gc
import os
import shutil
from pathlib import Path

import pytest
import torch

from helpers import TINY, call, digits
from vae_lab.data import MNISTDataModule
from vae_lab.data import mnist_files as files

torch.set_num_threads(1)


def pytest_collection_finish() -> None:
    """What the imports made stays: to look for garbage in it takes a tenth of the tests' time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def small_files(monkeypatch) -> None:
    """530 training and 70 test images in MNIST's place."""
    monkeypatch.setattr(files, "TRAIN_IMAGES", 530)
    monkeypatch.setattr(files, "load_once", lambda *_: (digits(530), digits(70)))


@pytest.fixture
def small_data(small_files) -> MNISTDataModule:  # noqa: ARG001
    """A data module over them."""
    return MNISTDataModule(batch_size=100, eval_batch_size=30, validation=30)


@pytest.fixture(scope="session")
def _tiny_run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "TRAIN_IMAGES", 530)
        patch.setattr(files, "load_once", lambda *_: (digits(530), digits(70)))
        patch.chdir(folder)
        answer = call(*TINY, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    return folder / "run"


@pytest.fixture
def tiny_run(_tiny_run, tmp_path) -> Path:
    """A copy of a finished run of two epochs over the small files."""
    return shutil.copytree(_tiny_run, tmp_path / "run")


@pytest.fixture(scope="session")
def mnist_root() -> str:
    """A folder with the real MNIST: the one that VAE_LAB_DATA names, or the user's cache."""
    files.load("mnist")
    return os.environ.get("VAE_LAB_DATA") or files.user_cache_dir("vae_lab")
