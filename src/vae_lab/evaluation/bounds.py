"""Bounds of log p(x) over a whole set of images."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from vae_lab.data.batches import Batches
from vae_lab.evaluation.progress import progress
from vae_lab.models import Bounds, Model

PART = 100  # images between two movements of the bar: with a slow decoder 1,000 take minutes


def bounds_of_set(model: Model, batches: Batches | Sequence[tuple[Tensor, Tensor]], k: int) -> Bounds:
    """The bounds of every image of a set, on the CPU; their progress is shown.

    Args:
        model: a model with a likelihood.
        batches: pairs of images (batch, channels, height, width) and labels (batch,).
        k: number of draws of z for each image.
    """
    found = []
    with progress(len(batches), f"k = {k:,}") as bar:
        for x, _ in batches:
            for part in x.split(PART):
                found.append([term.cpu() for term in model.bounds(part, k)])
                bar.update(len(part) / len(x))
    return Bounds(*(torch.cat(terms) for terms in zip(*found, strict=True)))


def summary(found: Bounds, k: int) -> dict[str, float]:
    """Means over images in nats, and the standard error of the importance-weighted bound over images.

    Args:
        found: bounds of each image.
        k: number of draws that they were made from.
    """
    nll = found.nll.double()
    return {
        f"nll_iwae_{k}": nll.mean().item(),
        f"nll_iwae_{k}_se": (nll.std() / len(nll) ** 0.5).item(),
        f"nelbo_{k}": found.nelbo.double().mean().item(),
        f"kl_{k}": found.kl.double().mean().item(),
        f"reconstruction_{k}": found.reconstruction.double().mean().item(),
    }


def over_draws(found: Sequence[Bounds], k: int) -> dict[str, float]:
    """How far the figures of a test set depend on the draw of its bits: mean and standard deviation over draws.

    Args:
        found: bounds of each image, for each draw of the bits of all images.
        k: number of draws of z that they were made from.
    """
    of_draws = [summary(bounds, k) for bounds in found]
    figures: dict[str, float] = {f"bit_draws_{k}": len(found)}
    for name in (f"nll_iwae_{k}", f"nelbo_{k}"):
        values = [of_draw[name] for of_draw in of_draws]
        figures |= {f"{name}_over_draws": statistics.mean(values), f"{name}_over_draws_sd": statistics.stdev(values)}
    return figures


def bits_per_dimension(nats: float, model: Model) -> float | None:
    """A figure of an image in bits for each pixel and channel: nats / (D log 2).

    None where p(x|z) is no probability of levels. The density of a normal likelihood is of real numbers: to compare it
    with such a probability takes noise on the levels, which the images here do not have.

    Args:
        nats: figure of an image, in nats.
        model: the model that it is of.
    """
    return nats / (math.prod(model.image_shape) * math.log(2)) if model.levels else None


def active_units(codes: Tensor, threshold: float = 0.01) -> int:
    """Latent dimensions whose code varies over the images.

    Source: Burda et al., Importance Weighted Autoencoders (2016), section 5.2, https://arxiv.org/abs/1509.00519

    Args:
        codes: representative code of each image, (n, latent).
        threshold: variance above which a dimension is active.

    >>> active_units(torch.tensor([[0.0, 1.0], [0.01, -1.0]]))
    1
    """
    return int((codes.var(0) > threshold).sum())
