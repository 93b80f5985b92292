"""The callbacks that a config may name."""

from vae_lab.training.checkpoints import BestCheckpoint, LastCheckpoint
from vae_lab.training.figures import (
    Completions,
    DiscriminatorOutputs,
    Interpolation,
    KLByDimension,
    LadderSamples,
    LatentGrid,
    LatentScatter,
    NelboByEpoch,
    PriorSamples,
    RealImages,
    Reconstructions,
    Resolutions,
    Traversals,
)
from vae_lab.training.measurements import SampleQuality

__all__ = [
    "BestCheckpoint",
    "Completions",
    "DiscriminatorOutputs",
    "Interpolation",
    "KLByDimension",
    "LadderSamples",
    "LastCheckpoint",
    "LatentGrid",
    "LatentScatter",
    "NelboByEpoch",
    "PriorSamples",
    "RealImages",
    "Reconstructions",
    "Resolutions",
    "SampleQuality",
    "Traversals",
]
