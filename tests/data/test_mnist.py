"""Splits, order and pixels of the data module."""

import pytest
import torch

from helpers import digits
from vae_lab.data import MNISTDataModule
from vae_lab.data import mnist_files as files
from vae_lab.data.binarization import draw, freeze
from vae_lab.errors import ConfigError


@pytest.fixture
def make(monkeypatch):
    monkeypatch.setattr(files, "TRAIN_IMAGES", 530)
    monkeypatch.setattr(files, "load_once", lambda *_: (digits(530), digits(70)))

    def made(**options):
        data = MNISTDataModule(**{"batch_size": 100, "validation": 30} | options)
        data.setup()
        return data

    return made


def test_the_last_images_are_held_out(make):
    data = make(binarization="none")
    images, labels = digits(530)
    assert torch.equal(data.train.images, images[:500])
    assert torch.equal(data.val.images, images[500:])
    assert torch.equal(data.val.labels, labels[500:])


def test_random_images_are_held_out_by_their_own_seed(make):
    a = make(binarization="none", validation_choice="random", split_seed=1, seed=1)
    b = make(binarization="none", validation_choice="random", split_seed=1, seed=2)
    c = make(binarization="none", validation_choice="random", split_seed=2, seed=1)
    assert torch.equal(a.val.labels, b.val.labels)
    assert not torch.equal(a.val.labels, c.val.labels)
    everything = torch.cat((a.train.labels, a.val.labels)).bincount()
    assert torch.equal(everything, digits(530)[1].bincount())


@pytest.mark.parametrize("none", [0, "none"])
def test_nothing_is_held_out(make, none):
    data = make(validation=none)
    assert len(data.train.images) == 530
    assert len(data.val_dataloader()) == 0


def test_every_image_comes_once_an_epoch_and_the_last_batch_is_smaller(make):
    data = make(batch_size=120, binarization="none")
    batches = list(data.train_dataloader())
    assert [len(x) for x, _ in batches] == [120, 120, 120, 120, 20]
    assert len(data.train_dataloader()) == 5
    seen = torch.cat([labels for _, labels in batches]).bincount()
    assert torch.equal(seen, data.train.labels.bincount())


def test_the_order_follows_from_seed_and_epoch_alone(make):
    class Epoch:
        def __init__(self, epoch):
            self.current_epoch = epoch

    def order(seed, epoch):
        data = make(seed=seed)
        data.trainer = Epoch(epoch)
        torch.rand(seed + 3)
        return data._order().tolist()

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 1) != order(1, 0)


@pytest.mark.parametrize("binarization", ["dynamic", "static", "threshold"])
def test_binarized_pixels_are_bits(make, binarization):
    data = make(binarization=binarization)
    for loader in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
        for x, _ in loader:
            assert x.dtype == torch.float32
            assert set(x.unique().tolist()) <= {0.0, 1.0}


def test_grey_levels_are_between_zero_and_one(make):
    x, _ = next(iter(make(binarization="none").test_dataloader()))
    assert x.max().item() == pytest.approx(200 / 255)


def test_only_dynamic_training_pixels_change(make):
    def twice(data):
        loader = data.train_dataloader()
        return torch.equal(next(iter(loader))[0], next(iter(loader))[0])

    assert not twice(make(binarization="dynamic"))
    assert twice(make(binarization="static"))
    for binarization in ("dynamic", "static"):
        assert torch.equal(make(binarization=binarization).test.images, make(binarization=binarization).test.images)
    a = make(binarization="static", binarization_seed=1).train.images
    assert not torch.equal(a, make(binarization="static", binarization_seed=2).train.images)


def test_a_draw_has_the_probability_of_the_grey_level():
    pixels = torch.arange(256, dtype=torch.uint8).repeat(40_000, 1)
    share = draw(pixels).mean(0)
    p = torch.arange(256) / 255
    assert share[0] == 0
    assert share[255] == 1
    # 254 levels at 4.5 standard errors: a false alarm once in 600 seeds, and the seed is fixed
    assert ((share - p).abs() <= 4.5 * (p * (1 - p) / 40_000).sqrt()).all()


def test_freezing_leaves_the_random_state(make):
    state = torch.get_rng_state()
    make()
    freeze(torch.full((5, 1, 28, 28), 100, dtype=torch.uint8), "static", 3)
    assert torch.equal(state, torch.get_rng_state())


def test_mean_image_is_the_mean_of_the_training_images(make):
    data = make(binarization="none")
    torch.testing.assert_close(data.mean_image(), data.train.images.double().mean(0).float() / 255)


@pytest.mark.parametrize(
    ("options", "line"),
    [({"batch_size": 501}, "data.batch_size=501: must be at most 500"), ({"validation": 530}, "data.validation=530")],
)
def test_sizes_that_do_not_fit_are_named(make, options, line):
    with pytest.raises(ConfigError, match=line):
        make(**options)
