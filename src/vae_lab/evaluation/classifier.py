"""The feature network: a small classifier that is trained on a data set and kept beside its files."""

import itertools
import logging
from pathlib import Path

import torch
from torch import Tensor, nn

from vae_lab.data.batches import Batches
from vae_lab.data.binarization import scale
from vae_lab.errors import DiskError, RunFolderError, reason_of
from vae_lab.evaluation.progress import progress
from vae_lab.files import tensors
from vae_lab.files.atomic import replacing
from vae_lab.files.locks import locked
from vae_lab.networks import conv_sizes
from vae_lab.randomness import fixed_noise

log = logging.getLogger(__name__)

AT_ONCE = 1000
EPOCHS = 3
FEATURES = 128


class Classifier(nn.Module):
    """Two convolutions and two linear layers.

    Args:
        image_shape: (channels, height, width) of its images, whose values are in [0, 1].
        labels: number of labels.
    """

    def __init__(self, image_shape: tuple[int, int, int], labels: int) -> None:
        super().__init__()
        channels, *sizes = image_shape
        height, width = (conv_sizes(size, layers=2, kernel=4, stride=2)[-1] for size in sizes)
        self.body = nn.Sequential(
            nn.Conv2d(channels, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * height * width, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, labels)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the labels, (batch, labels)."""
        return self.head(self.body(x))

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 128) and label probabilities (n, labels) of any number of images, in uint8 or in [0, 1]."""
        parts = images.split(AT_ONCE)  # each becomes floats alone: a large set would take four times its bytes
        features = torch.cat([self.body(part if part.is_floating_point() else scale(part)) for part in parts])
        return features, self.head(features).softmax(1)


def classifier(file: Path, images: Tensor, labels: Tensor, n_labels: int) -> Classifier:
    """The feature network, from a file, or trained and then kept there; on the device of the images.

    The same images give the same network on the same machine, whatever was drawn before, since it has its own seed.

    Args:
        file: file of the network; a damaged one is replaced. If it cannot be written, the network is used only once.
        images: images to train on, uint8 (n, channels, height, width).
        labels: label of each image, (n,), from 0 to n_labels − 1.
        n_labels: number of labels.
    """
    found = _read(file, images, n_labels)
    if found is not None:
        return found
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with locked(file.with_suffix(".lock"), "it is trained for this command only"):
            found = _read(file, images, n_labels)  # another process may have trained it meanwhile
            if found is None:
                found = _train(images, labels, n_labels)
                with replacing(file) as content:
                    torch.save(found.state_dict(), content)
    except (OSError, DiskError) as error:
        log.warning("%s: the feature network cannot be kept there (%s)", file, error)
    return _train(images, labels, n_labels) if found is None else found


def _read(file: Path, images: Tensor, n_labels: int) -> Classifier | None:
    """The network of a file; None where there is none, or it is damaged."""
    if not file.exists():
        return None
    net = _untrained(images, n_labels)
    try:
        net.load_state_dict(tensors.read(file, "classifier"))
    except (RunFolderError, RuntimeError) as error:  # damaged, or of another network
        log.warning("%s; it is trained again", reason_of(error))
        return None
    return net.eval()


def _untrained(images: Tensor, n_labels: int) -> Classifier:
    channels, height, width = images.shape[1:]
    with fixed_noise(0, images.device):
        return Classifier((channels, height, width), n_labels).to(images.device)


def _train(images: Tensor, labels: Tensor, n_labels: int, batch_size: int = 128) -> Classifier:
    net = _untrained(images, n_labels)
    order = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    batches = Batches(images, labels, batch_size, scale, lambda: torch.randperm(len(images), generator=order))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * len(batches))
    with progress(EPOCHS * len(batches), "feature network") as bar:
        for x, y in itertools.chain.from_iterable(itertools.repeat(batches, EPOCHS)):
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            bar.update(1)
    return net.eval()
