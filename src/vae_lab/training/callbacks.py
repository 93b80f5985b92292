"""The callbacks that a config may name."""

from vae_lab.training.checkpoints import BestCheckpoint, LastCheckpoint
from vae_lab.training.discriminator_outputs import DiscriminatorOutputs
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
from vae_lab.training.measurements import SampleQuality

__all__ = [
    "BestCheckpoint",
    "Completions",
    "DiscriminatorOutputs",
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
    "SampleQuality",
]
