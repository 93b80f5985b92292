"""Figures of images: one of each label first, the error below each, samples as draws."""

import pytest
import torch

from helpers import SHAPE, small_vae
from vae_lab.figures import images
from vae_lab.training.callbacks import PriorSamples, Reconstructions


class Digits:
    """Thirty images whose labels come in a bad order, as a data module has them."""

    labels = tuple(str(i) for i in range(10))
    test_images = torch.rand(30, *SHAPE).round()
    test_labels = torch.cat((torch.full((11,), 1), torch.arange(9, -1, -1), torch.arange(9)))


class Unlabelled(Digits):
    labels = None


def got_by(name, callback, model, data, monkeypatch):
    found = []
    monkeypatch.setattr(images, name, lambda *given: found.append(given))
    callback.draw(model, data)
    return found[0]


def test_reconstructions_begin_with_one_of_each_label(monkeypatch):
    originals, *_ = got_by("reconstructions", Reconstructions(n=12), small_vae(), Digits(), monkeypatch)
    first_of = [(Digits.test_labels == label).nonzero()[0, 0].item() for label in range(10)]
    second_of = [(Digits.test_labels == label).nonzero()[1, 0].item() for label in range(2)]
    assert torch.equal(originals, Digits.test_images[first_of + second_of])


def test_reconstructions_without_labels_are_of_the_first_images(monkeypatch):
    originals, *_ = got_by("reconstructions", Reconstructions(n=3), small_vae(), Unlabelled(), monkeypatch)
    assert torch.equal(originals, Digits.test_images[:3])


def test_the_error_below_a_reconstruction_is_its_cross_entropy(monkeypatch):
    model = small_vae().eval()
    x, decoded, errors, _ = got_by("reconstructions", Reconstructions(n=4), model, Digits(), monkeypatch)
    expected = -(x * decoded.log() + (1 - x) * (1 - decoded).log()).double().flatten(1).sum(1)
    torch.testing.assert_close(errors.double(), expected, rtol=1e-4, atol=0)
    monkeypatch.undo()
    captions = [text.get_text() for text in Reconstructions(n=4).draw(model, Digits()).axes[0].get_xticklabels()]
    assert [float(text) for text in captions] == pytest.approx(expected.tolist(), abs=0.51)


def test_samples_may_be_draws_of_the_pixels(monkeypatch):
    pictures, _, what = got_by("samples", PriorSamples(2, 3, images="draws"), small_vae(), Digits(), monkeypatch)
    assert what == "draws"
    assert pictures.shape == (6, *SHAPE)
    assert set(pictures.unique().tolist()) == {0, 1}
    pictures, _, what = got_by("samples", PriorSamples(2, 3), small_vae(), Digits(), monkeypatch)
    assert what == "means"
    assert len(pictures.unique()) > 2


def test_white_samples_are_told_apart_by_lines():
    figure = images.samples(torch.zeros(4, *SHAPE), columns=2)
    picture = torch.as_tensor(figure.axes[0].get_images()[0].get_array())
    assert 0.05 < picture.max() < 0.5
    assert (picture == picture.max()).sum() == 2 * 57 - 1
