"""Judging a generative model by more than its likelihood: what a digit classifier sees in its samples, whether
they copy training images, and what its codes know of the labels.

The feature network is a small classifier that is trained on the data set itself and kept beside its files. The
Fréchet and kernel distances are taken between its features: they compare models of this data set with each
other, and are not comparable with distances between Inception features.
"""

import logging
import math
import warnings
from collections.abc import Iterable
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance  # torchmetrics.image names it only beside Inception
from torchmetrics.image.kid import KernelInceptionDistance
from tqdm import tqdm

from vae_lab.data.batches import Batches
from vae_lab.data.binarization import scale
from vae_lab.errors import DiskError, RunFolderError, reason_of
from vae_lab.files.atomic import replacing
from vae_lab.randomness import fixed_noise
from vae_lab.training import checkpoints

log = logging.getLogger(__name__)

AT_ONCE = 1000
EPOCHS = 3
FEATURES = 128
LABELS = 10


class Classifier(nn.Module):
    """Two convolutions and two linear layers.

    Images are (batch, 1, 28, 28) in [0, 1]; logits are (batch, 10).
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 4, 2, 1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2, 1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, LABELS)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of the labels."""
        return self.head(self.body(x))

    @torch.no_grad()
    def look(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features (n, 128) and label probabilities (n, 10) of images of any number."""
        found = [self.body(part) for part in images.split(AT_ONCE)]
        features = torch.cat(found)
        return features, self.head(features).softmax(1)


def classifier(file: Path, images: Tensor, labels: Tensor) -> Classifier:
    """The feature network, from a file, or trained and then kept there; on the device of the images.

    The same images give the same network on the same machine, whatever was drawn before: it has its own seed.

    Args:
        file: where it is kept; a damaged one is replaced. Where nothing can be written, it serves this time only.
        images: to train on, uint8 (n, 1, height, width).
        labels: beside them, (n,).
    """
    found = _read(file, images.device)
    if found is not None:
        return found
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            found = _read(file, images.device)  # another process may have trained it meanwhile
            if found is None:
                found = _train(images, labels)
                with replacing(file) as content:
                    torch.save(found.state_dict(), content)
    except (OSError, DiskError) as error:
        log.warning("%s: the feature network cannot be kept there (%s)", file, error)
    return _train(images, labels) if found is None else found


def _read(file: Path, device: torch.device) -> Classifier | None:
    """The network of a file; None where there is none, or it is damaged."""
    if not file.exists():
        return None
    net = _untrained(device)
    try:
        net.load_state_dict(checkpoints.read(file))
    except (RunFolderError, RuntimeError) as error:  # damaged, or of another network
        log.warning("%s; it is trained anew", reason_of(error))
        return None
    return net.eval()


def _untrained(device: torch.device) -> Classifier:
    with fixed_noise(0, device):
        return Classifier().to(device)


def _train(images: Tensor, labels: Tensor, batch_size: int = 128) -> Classifier:
    net = _untrained(images.device)
    order = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    batches = Batches(images, labels, batch_size, scale, lambda: torch.randperm(len(images), generator=order))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=EPOCHS * len(batches))
    for epoch in range(EPOCHS):
        bar = tqdm(batches, desc=f"feature network, epoch {epoch + 1}/{EPOCHS}", disable=None, leave=False)
        for x, y in bar:
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


class _Identity(nn.Identity):
    """Stands for torchmetrics' feature network where the features are there already."""

    num_features = FEATURES


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of features (n, 128): Heusel et al. (2017), by torchmetrics."""
    metric = FrechetInceptionDistance(_Identity())
    # in double precision, which not every device has: the matrix root of nearly singular covariances needs it
    metric.set_dtype(torch.float64)
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    return metric.compute().item()


def kernel_distance(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """Squared MMD of features with the kernel (xᵀy/128 + 1)³: mean and standard deviation over 100 subsets.

    Source: Bińkowski et al., Demystifying MMD GANs (2018), by torchmetrics.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
        metric = KernelInceptionDistance(_Identity(), subset_size=min(1000, len(real), len(generated)))
    metric = metric.to(real.device)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    mean, deviation = metric.compute()
    return mean.item(), deviation.item()


def confidence(probabilities: Tensor) -> float:
    """Average probability of the likeliest label; probabilities are (n, labels)."""
    return probabilities.amax(1).mean().item()


def class_balance(probabilities: Tensor) -> float:
    """Entropy of the average label distribution over its largest value: 1 where all labels are as frequent.

    >>> class_balance(torch.eye(10)), class_balance(torch.eye(10)[:1])
    (1.0, 0.0)
    """
    average = probabilities.double().mean(0)
    return round(torch.special.entr(average).sum().item() / math.log(probabilities.shape[1]), 9)


def nearest(images: Tensor, among: Tensor, at_once: int = 100) -> tuple[Tensor, Tensor]:
    """For each image the Euclidean distance over pixels to its nearest neighbour, and which that is.

    Args:
        images: (n, 1, height, width) in [0, 1].
        among: uint8 images, (m, 1, height, width).
        at_once: images whose distances to all m lie in memory together.
    """
    references = scale(among).flatten(1)
    found = [torch.cdist(part.flatten(1), references).min(1) for part in images.split(at_once)]
    return torch.cat([part.values for part in found]), torch.cat([part.indices for part in found])


def samples_judged(
    net: Classifier, samples: Tensor, test_images: Tensor, training_images: Tensor, copies: int = 1000
) -> tuple[dict[str, float], Tensor, Tensor]:
    """Every figure about samples, beside what real images score where the figure needs a yardstick.

    Args:
        net: the feature network.
        samples: decoded means, (n, 1, height, width) in [0, 1].
        test_images: uint8; what the samples are held against.
        training_images: uint8; what samples may not copy. As many of them as there are samples give the yardstick.
        copies: how many samples, and test images, are held against all training images.

    Returns:
        the figures, and for the first samples the distance to the nearest training image and its index, (copies,).
    """
    real, _ = net.look(scale(test_images))
    drawn, probabilities = net.look(samples)
    other, _ = net.look(scale(training_images[: len(samples)]))
    kernel, deviation = kernel_distance(real, drawn)
    distances, indices = nearest(samples[:copies], training_images)
    of_test, _ = nearest(scale(test_images[:copies]), training_images)
    found = {
        "frechet_distance": frechet_distance(real, drawn),
        "frechet_distance_of_training_images": frechet_distance(real, other),
        "kernel_distance": kernel,
        "kernel_distance_sd": deviation,
        "confidence": confidence(probabilities),
        "class_balance": class_balance(probabilities),
        "nearest_distance": distances.mean().item(),
        "nearest_distance_of_test_images": of_test.mean().item(),
    }
    return found, distances, indices


def codes_judged(training: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], neighbours: int = 5) -> dict[str, float]:
    """Test accuracy of two simple classifiers that see the posterior means only, by scikit-learn.

    Args:
        training: codes (n, latent) and labels (n,).
        test: likewise.
        neighbours: of the k-nearest-neighbours vote.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, labels = (part.cpu().numpy() for part in training)
    test_codes, test_labels = (part.cpu().numpy() for part in test)
    knn = KNeighborsClassifier(neighbours, n_jobs=torch.get_num_threads())
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return {
        "knn_accuracy": float(knn.fit(codes, labels).score(test_codes, test_labels)),
        "linear_accuracy": float(linear.fit(codes, labels).score(test_codes, test_labels)),
    }


def codes(encode: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Posterior means and labels of all images of some batches."""
    with torch.no_grad():
        pairs = [(encode(x).mean, labels) for x, labels in batches]
    return torch.cat([means for means, _ in pairs]), torch.cat([labels for _, labels in pairs])
