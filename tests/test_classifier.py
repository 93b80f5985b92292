"""The feature network: what it learns, how it is kept, and that older files of it are still read."""

import pytest
import torch

from helpers import digits
from vae_lab.evaluation.classifier import Classifier, classifier


def test_the_feature_network_learns(tmp_path):
    net = classifier(tmp_path / "classifier.pt", *digits(2000), 10)
    images, labels = digits(500)
    _, probabilities = net.look(images.float() / 255)
    assert (probabilities.argmax(1) == labels).float().mean() > 0.99


def test_it_is_kept_and_a_damaged_file_is_replaced(tmp_path, caplog):
    images, labels = digits(500)
    file = tmp_path / "classifier.pt"
    state = torch.get_rng_state()
    first = classifier(file, images, labels, 10)
    assert torch.equal(torch.get_rng_state(), state)
    written = file.stat().st_mtime_ns
    again = classifier(file, images, labels, 10)
    assert file.stat().st_mtime_ns == written
    file.write_bytes(file.read_bytes()[:1000])
    mended = classifier(file, images, labels, 10)
    assert f"{file}: damaged" in caplog.text
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
        assert torch.equal(value, mended.state_dict()[name])


def test_of_mnist_it_is_the_network_of_the_cached_files():
    shapes = {name: tuple(value.shape) for name, value in Classifier((1, 28, 28), 10).state_dict().items()}
    assert shapes == {
        "body.0.weight": (32, 1, 4, 4),
        "body.0.bias": (32,),
        "body.2.weight": (64, 32, 4, 4),
        "body.2.bias": (64,),
        "body.5.weight": (128, 3136),
        "body.5.bias": (128,),
        "head.weight": (10, 128),
        "head.bias": (10,),
    }


@pytest.mark.parametrize(("shape", "labels"), [((3, 32, 20), 4), ((2, 9, 7), 3)])
def test_images_of_any_shape_and_any_number_of_labels(tmp_path, shape, labels, caplog):
    file = tmp_path / "classifier.pt"
    classifier(file, *digits(100), 10)
    images = torch.randint(0, 256, (50, *shape), dtype=torch.uint8)
    net = classifier(file, images, torch.arange(50) % labels, labels)
    assert "it is trained again" in caplog.text
    features, probabilities = net.look(images.float() / 255)
    assert features.shape == (50, 128)
    assert probabilities.shape == (50, labels)
