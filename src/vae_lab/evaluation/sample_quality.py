"""Figures of samples and codes that the likelihood does not give: what a classifier of the data set finds in the
samples, whether they copy training images, and how well labels can be read from the codes.

The Fréchet and kernel distances are taken between features of that classifier: they compare models of one data set
with each other, and are not comparable with distances between Inception features.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance  # torchmetrics.image has it only with Inception
from torchmetrics.image.kid import KernelInceptionDistance

from vae_lab.data.binarization import scale
from vae_lab.errors import NotOffered
from vae_lab.evaluation.classifier import AT_ONCE, Classifier
from vae_lab.models import Model

VALUES = 2**27  # pixel values that are floats at once: half a gigabyte


class _Features(nn.Identity):
    """Replaces torchmetrics' feature network where the features (n, number) are already computed."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.num_features = features.shape[1]


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """|μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½) of two sets of features, by torchmetrics.

    Source: Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash equilibrium (2017),
    https://arxiv.org/abs/1706.08500

    Args:
        real: features of real images, (n, features).
        generated: features of samples, (m, features).
    """
    metric = FrechetInceptionDistance(_Features(real))
    # in double precision, which not every device has: the matrix root of nearly singular covariances needs it
    metric.set_dtype(torch.float64)
    metric.update(real.cpu().double(), real=True)
    metric.update(generated.cpu().double(), real=False)
    return metric.compute().item()


def kernel_distance(real: Tensor, generated: Tensor) -> tuple[float, float]:
    """Squared MMD with the kernel (xᵀy / features + 1)³: mean and standard deviation over 100 subsets, by torchmetrics.

    Source: Bińkowski et al., Demystifying MMD GANs (2018), https://arxiv.org/abs/1801.01401

    Args:
        real: features of real images, (n, features).
        generated: features of samples, (m, features).
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*will save all extracted features.*")
        metric = KernelInceptionDistance(_Features(real), subset_size=min(1000, len(real), len(generated)))
    metric = metric.to(real.device)
    metric.update(real, real=True)
    metric.update(generated, real=False)
    mean, deviation = metric.compute()
    return mean.item(), deviation.item()


def precision_and_recall(real: Tensor, generated: Tensor, neighbours: int = 3) -> tuple[float, float]:
    """Share of samples that lie among the real images, and share of real images that lie among the samples.

    A point lies among a set if it is in the ball of one of its points, which reaches to the k-th nearest neighbour of
    that point in its set. Source: Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative
    Models (2019), https://arxiv.org/abs/1904.06991

    Args:
        real: features of real images, (n, features).
        generated: features of samples, (m, features).
        neighbours: k; it is at most the number of points of the smaller set minus 1.
    """
    k = min(neighbours, len(real) - 1, len(generated) - 1)
    return _share_among(generated, real, k), _share_among(real, generated, k)


def _share_among(points: Tensor, others: Tensor, k: int, at_once: int = 1000) -> float:
    """Share of points (n, features) in a ball of one of the others (m, features)."""
    # each is its own nearest neighbour
    radii = torch.cat([torch.cdist(part, others).kthvalue(k + 1).values for part in others.split(at_once)])
    inside = [(torch.cdist(part, others) <= radii).any(1) for part in points.split(at_once)]
    return torch.cat(inside).double().mean().item()


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
    """For each image the Euclidean distance over pixels to its nearest neighbour, and the index of that.

    Args:
        images: images, (n, channels, height, width) in [0, 1].
        among: images to look among, uint8 (m, channels, height, width).
        at_once: number of images whose distances to many of the m are in memory at once.
    """
    distances = images.new_full((len(images),), math.inf)
    indices = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    some = max(1, VALUES // among[0].numel())
    for start in range(0, len(among), some):
        references = scale(among[start : start + some]).flatten(1)
        found = [torch.cdist(part.flatten(1), references).min(1) for part in images.split(at_once)]
        closest = torch.cat([part.values for part in found])
        indices = torch.where(closest < distances, torch.cat([part.indices for part in found]) + start, indices)
        distances = torch.minimum(closest, distances)
    return distances, indices


class Nearest(NamedTuple):
    """The training image that is nearest to each sample."""

    distances: Tensor
    """Euclidean distance over pixels, (n,)."""
    indices: Tensor
    """Index of the training image, (n,)."""
    relative: Tensor
    """Distance divided by the usual one of the sample's label, (n,)."""


def relative_to_label(distances: Tensor, labels: Tensor, of_real: Tensor, real_labels: Tensor) -> Tensor:
    """Distances divided by the mean distance of real images with the same label, (n,).

    Strokes with few pixels, as those of a one, lie near each other: the distances of other labels are larger. Where no
    real image has the label, the mean over all of them is the usual distance.

    Args:
        distances: distances of samples, (n,).
        labels: label of each sample, (n,), int64.
        of_real: distances of real images that are not those compared with, (m,).
        real_labels: label of each real image, (m,), int64.

    >>> labels = torch.tensor([0, 1])
    >>> relative_to_label(torch.tensor([1.0, 3.0]), labels, torch.tensor([1.0, 6.0]), labels)
    tensor([1.0000, 0.5000])
    """
    count = int(torch.cat((labels, real_labels)).max()) + 1
    numbers = torch.bincount(real_labels, minlength=count)
    # index_add_ and not a weighted bincount, which has no deterministic form on a GPU
    means = torch.zeros(count, device=of_real.device).index_add_(0, real_labels, of_real) / numbers
    usual = torch.where(numbers > 0, means, of_real.mean())
    return distances / usual[labels]


def samples_in_parts(model: Model, n: int) -> Iterator[Tensor]:
    """n samples of a model, (part, channels, height, width) each, as many at once as fit into memory."""
    for part in torch.arange(n).split(min(AT_ONCE, model.at_once)):
        yield model.sample(len(part))


def samples_judged(
    net: Classifier, samples: Tensor, test_images: Tensor, training_images: Tensor, copies: int = 1000
) -> tuple[dict[str, float], Nearest]:
    """Every figure of samples, and the same figure of real images where a comparison needs it.

    Args:
        net: classifier of the data set, whose features are compared.
        samples: decoded images, (n, channels, height, width) in [0, 1].
        test_images: images that the samples are compared with, uint8 (m, channels, height, width).
        training_images: images that samples must not copy, uint8 (…, channels, height, width). The first n of them
            are compared with the test images too.
        copies: number of samples, and of test images, that are compared with all training images.

    Returns:
        the figures, and the training images nearest to the first samples, (copies,).
    """
    real, of_real = net.look(test_images)
    drawn, probabilities = net.look(samples)
    other, _ = net.look(training_images[: len(samples)])
    kernel, deviation = kernel_distance(real, drawn)
    precision, recall = precision_and_recall(real, drawn)
    best_precision, best_recall = precision_and_recall(real, other)
    distances, indices = nearest(samples[:copies], training_images)
    of_test, _ = nearest(scale(test_images[:copies]), training_images)
    labels, test_labels = probabilities.argmax(1)[:copies], of_real.argmax(1)[:copies]
    found = {
        "frechet_distance": frechet_distance(real, drawn),
        "frechet_distance_of_training_images": frechet_distance(real, other),
        "kernel_distance": kernel,
        "kernel_distance_sd": deviation,
        "kernel_distance_of_training_images": kernel_distance(real, other)[0],
        "precision": precision,
        "recall": recall,
        "precision_of_training_images": best_precision,
        "recall_of_training_images": best_recall,
        "confidence": confidence(probabilities),
        "confidence_of_test_images": confidence(of_real),
        "class_balance": class_balance(probabilities),
        "class_balance_of_test_images": class_balance(of_real),
        "nearest_distance": distances.mean().item(),
        "nearest_distance_of_test_images": of_test.mean().item(),
    }
    return found, Nearest(distances, indices, relative_to_label(distances, labels, of_test, test_labels))


def codes_judged(training: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], neighbours: int = 5) -> dict[str, float]:
    """Test accuracy of two simple classifiers that see the codes only, by scikit-learn.

    Args:
        training: codes (n, latent) and labels (n,) to fit the classifiers to.
        test: codes (m, latent) and labels (m,) to test them on.
        neighbours: number of neighbours that vote; no more than there are codes.

    Raises:
        NotOffered: if the training images have one label only.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    codes, labels = (part.cpu().numpy() for part in training)
    test_codes, test_labels = (part.cpu().numpy() for part in test)
    if len(set(labels.tolist())) < 2:
        raise NotOffered("the training images have one label only")
    knn = KNeighborsClassifier(min(neighbours, len(codes)), n_jobs=torch.get_num_threads())
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        # of a small set with many labels, which scikit-learn takes for measured values
        warnings.filterwarnings("ignore", message=".*unique classes is greater than 50%.*")
        return {
            "knn_accuracy": float(knn.fit(codes, labels).score(test_codes, test_labels)),
            "linear_accuracy": float(linear.fit(codes, labels).score(test_codes, test_labels)),
        }


def codes(encode: Callable[[Tensor], Tensor], batches: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Codes (n, latent) and labels (n,) of all images of some batches.

    Args:
        encode: function from images (batch, channels, height, width) to codes (batch, latent), as a model's ``encode``.
        batches: pairs of images and labels.
    """
    pairs = [(encode(x), labels) for x, labels in batches]
    return torch.cat([found for found, _ in pairs]), torch.cat([labels for _, labels in pairs])
