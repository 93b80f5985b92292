"""Callbacks that draw figures: when, of what, and where they are saved."""

from vae_lab.training.figures.base import FigureCallback
from vae_lab.training.figures.epochs import DiscriminatorOutputs, NelboByEpoch
from vae_lab.training.figures.images import (
    Completions,
    LadderSamples,
    PriorSamples,
    RealImages,
    Reconstructions,
    Resolutions,
)
from vae_lab.training.figures.latent import KLByDimension, LatentGrid, LatentScatter, Traversals
from vae_lab.training.figures.walks import Interpolation

__all__ = [
    "Completions",
    "DiscriminatorOutputs",
    "FigureCallback",
    "Interpolation",
    "KLByDimension",
    "LadderSamples",
    "LatentGrid",
    "LatentScatter",
    "NelboByEpoch",
    "PriorSamples",
    "RealImages",
    "Reconstructions",
    "Resolutions",
    "Traversals",
]
