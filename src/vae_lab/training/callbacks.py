"""The callbacks that a config may name."""

from vae_lab.training.checkpoints import BestCheckpoint, LastCheckpoint
from vae_lab.training.figures import (
    Interpolation,
    LatentGrid,
    LatentScatter,
    NelboByEpoch,
    PriorSamples,
    RealImages,
    Reconstructions,
)

__all__ = [
    "BestCheckpoint",
    "Interpolation",
    "LastCheckpoint",
    "LatentGrid",
    "LatentScatter",
    "NelboByEpoch",
    "PriorSamples",
    "RealImages",
    "Reconstructions",
]
