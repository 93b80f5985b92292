"""The callbacks that a config may name."""

from vae_lab.training.checkpoints import BestCheckpoint, LastCheckpoint
from vae_lab.training.figures import (
    Completions,
    Interpolation,
    LadderSamples,
    LatentGrid,
    LatentScatter,
    NelboByEpoch,
    PriorSamples,
    RealImages,
    Reconstructions,
    Resolutions,
)

__all__ = [
    "BestCheckpoint",
    "Completions",
    "Interpolation",
    "LadderSamples",
    "LastCheckpoint",
    "LatentGrid",
    "LatentScatter",
    "NelboByEpoch",
    "PriorSamples",
    "RealImages",
    "Reconstructions",
    "Resolutions",
]
