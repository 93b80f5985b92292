"""Fixtures: a fixed seed, a small data set in MNIST's place, and the real MNIST."""

import os

import pytest
import torch

from helpers import digits
from vae_lab.data import MNISTDataModule, files

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def small_data(monkeypatch) -> MNISTDataModule:
    """A data module whose files are 530 training and 70 test images."""
    monkeypatch.setattr(files, "TRAIN_IMAGES", 530)
    monkeypatch.setattr(files, "load", lambda *_: (digits(530), digits(70)))
    return MNISTDataModule(batch_size=100, eval_batch_size=30, validation=30)


@pytest.fixture(scope="session")
def mnist_root() -> str:
    """A folder with the real MNIST: the one that VAE_LAB_DATA names, or the user's cache."""
    files.load("mnist")
    return os.environ.get("VAE_LAB_DATA") or files.user_cache_dir("vae_lab")
