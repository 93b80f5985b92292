"""Digits of MNIST in colours, 32 × 32 pixels: python benchmarks/colour_digits.py FILE.npz

Each digit gets a bright colour on a dark ground of another colour, both drawn at random, so that a pixel has three
levels that say something of each other, and most levels from 0 to 255 occur. The file takes the place of a set of
your own images: python -m vae_lab experiment=colour_digits data=arrays data.file=FILE.npz
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from vae_lab.data import mnist_files as files

INK, GROUND = (96, 256), (0, 96)  # levels of a channel, the upper end excluded


def tinted(digits: Tensor, seed: int) -> np.ndarray:
    """Images (n, height, width, 3) in uint8 of digits (n, 1, 28, 28) in uint8, 0 being the ground.

    Args:
        digits: grey digits.
        seed: seed of the colours.
    """
    generator = torch.Generator().manual_seed(seed)
    ink, ground = (torch.randint(*levels, (len(digits), 1, 1, 3), generator=generator) for levels in (INK, GROUND))
    share = pad(digits[:, 0], (2, 2, 2, 2)).unsqueeze(-1)
    parts = zip(share.split(1000), ink.split(1000), ground.split(1000), strict=True)
    return torch.cat([(g + (i - g) * s.float() / 255).round().byte() for s, i, g in parts]).numpy()


def main(file: Path) -> None:
    """Write the training and the test set."""
    (training, labels), (test, test_labels) = files.load("mnist")
    np.savez_compressed(
        file,
        x_train=tinted(training, 0),
        y_train=labels.numpy(),
        x_test=tinted(test, 1),
        y_test=test_labels.numpy(),
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
