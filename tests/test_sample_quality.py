"""Judgements beyond the likelihood: against closed forms, brute force and sets whose answer is known."""

import math

import pytest
import torch

from helpers import digits
from vae_lab.evaluation import sample_quality as quality
from vae_lab.evaluation.classifier import classifier


@pytest.fixture(scope="module")
def net(tmp_path_factory):
    return classifier(tmp_path_factory.mktemp("net") / "classifier.pt", *digits(2000), 10)


def test_frechet_distance_of_features_with_known_moments():
    # whitened, so that mean and covariance are exactly the ones asked for
    x = torch.randn(2000, 128, dtype=torch.float64)
    x -= x.mean(0)
    x @= torch.linalg.inv(torch.linalg.cholesky(x.T.cov())).T
    a, b = torch.rand(128).double() + 0.5, torch.rand(128).double() + 0.5
    shift = torch.randn(128).double()
    expected = shift.square().sum() + (a - b).square().sum()
    assert quality.frechet_distance(x * a, x * b + shift) == pytest.approx(expected.item(), rel=1e-6)
    assert quality.frechet_distance(x, x) == pytest.approx(0, abs=1e-4)


def test_kernel_distance_is_the_unbiased_mmd():
    # both sets are exactly one subset, whose order does not matter
    x, y = torch.randn(200, 128), torch.randn(200, 128) + 0.5
    kernel = lambda a, b: (a.double() @ b.double().T / 128 + 1) ** 3  # noqa: E731
    within = sum((k := kernel(s, s)).sum() - k.diagonal().sum() for s in (x, y)) / (200 * 199)
    expected = within - 2 * kernel(x, y).mean()
    mean, deviation = quality.kernel_distance(x, y)
    assert mean == pytest.approx(expected.item(), rel=1e-3)
    assert deviation < 1e-3


def test_precision_and_recall_of_sets_whose_answer_is_known():
    # two clusters far apart; the samples miss one of them, and a fifth of them lie in neither
    cluster = torch.randn(200, 8, dtype=torch.float64)
    real = torch.cat([cluster, cluster + 100])
    samples = torch.cat([cluster[:160] + 1e-9, torch.randn(40, 8, dtype=torch.float64) - 300])
    precision, recall = quality.precision_and_recall(real, samples)
    assert precision == pytest.approx(0.8)
    assert 0.4 < recall <= 0.5
    assert quality.precision_and_recall(real, real.flip(0)) == (1, 1)
    assert quality.precision_and_recall(real, real + 1000) == (0, 0)


@pytest.mark.parametrize("k", [1, 3])
def test_precision_and_recall_are_those_of_the_definition(k):
    real, samples = torch.randn(40, 3).double(), 2 * torch.randn(30, 3).double() + 0.4

    def share(points, others):
        found = 0
        for point in points:
            for i, centre in enumerate(others):
                radius = sorted((centre - other).norm().item() for j, other in enumerate(others) if j != i)[k - 1]
                if (point - centre).norm().item() <= radius:
                    found += 1
                    break
        return found / len(points)

    expected = share(samples, real), share(real, samples)
    assert quality.precision_and_recall(real, samples, k) == pytest.approx(expected)
    assert 0 < expected[0] < 1


def test_class_balance_and_confidence():
    two = torch.eye(10)[:2]
    assert quality.class_balance(two) == pytest.approx(math.log(2) / math.log(10))
    assert quality.confidence(two) == 1
    assert quality.confidence(torch.full((3, 10), 0.1)) == pytest.approx(0.1)


def test_nearest_finds_a_copy():
    training = torch.randint(0, 256, (50, 1, 28, 28), dtype=torch.uint8)
    images = training[[7, 3, 44]].float() / 255
    images[2, 0, 0, 0] += 0.25
    distances, indices = quality.nearest(images, training, at_once=2)
    assert indices.tolist() == [7, 3, 44]
    torch.testing.assert_close(distances, torch.tensor([0.0, 0.0, 0.25]), atol=2e-2, rtol=0)


def test_real_images_are_judged_better_than_noise(net):
    images, _ = digits(400)
    noisy = (images.float() / 255 + 0.3 * torch.rand(400, 1, 28, 28)).clamp(0, 1)
    good, near = quality.samples_judged(net, images.float() / 255, images, images, copies=20)
    bad, far = quality.samples_judged(net, noisy, images, images, copies=20)
    assert near.distances.max() < 1e-2
    assert len(far.indices) == len(far.relative) == 20
    assert good["frechet_distance"] < bad["frechet_distance"]
    assert good["kernel_distance"] < bad["kernel_distance"]
    assert (good["precision"], good["recall"]) == (1, 1)
    assert bad["precision"] < good["precision"]
    assert good["precision_of_training_images"] == bad["recall_of_training_images"] == 1
    assert good["class_balance_of_test_images"] == good["class_balance"]
    assert good["class_balance"] == pytest.approx(1, abs=0.01)
    assert bad["nearest_distance"] > good["nearest_distance"] + 1


def test_codes_that_tell_the_labels_and_codes_that_do_not():
    labels = torch.arange(600) % 3
    told = torch.nn.functional.one_hot(labels).float() + 0.05 * torch.randn(600, 3)
    knows = quality.codes_judged((told[:300], labels[:300]), (told[300:], labels[300:]))
    assert knows == {"knn_accuracy": 1, "linear_accuracy": 1}
    blind = torch.randn(600, 3)
    guesses = quality.codes_judged((blind[:300], labels[:300]), (blind[300:], labels[300:]))
    # a third is chance; 0.5 is six standard errors away
    assert max(guesses.values()) < 0.5


def test_codes_and_labels_of_all_batches():
    images, labels = digits(25)
    batches = zip(images.split(10), labels.split(10), strict=True)
    codes, found = quality.codes(lambda x: x.flatten(1)[:, :3].float(), batches)
    assert torch.equal(codes, images.flatten(1)[:, :3].float())
    assert torch.equal(found, labels)
