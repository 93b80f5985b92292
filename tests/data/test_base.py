"""A set of images is one small subclass: any number of channels, any height and width, with or without labels."""

import pytest
import torch

from vae_lab.data import ImageDataModule
from vae_lab.data.base import Images
from vae_lab.errors import ConfigError


class Colours(ImageDataModule):
    """120 colour images without labels to train on, 20 to test on."""

    name, image_shape, labels, train_size = "colours", (3, 6, 10), None, 120

    def read(self):
        images = torch.randint(0, 256, (140, *self.image_shape), generator=torch.Generator().manual_seed(0))
        images, labels = images.byte(), torch.zeros(140, dtype=torch.int64)
        return (images[:120], labels[:120]), (images[120:], labels[120:])


@pytest.mark.parametrize("binarization", ["dynamic", "static", "threshold", "none"])
def test_images_of_another_shape_without_labels(binarization):
    data = Colours(batch_size=50, eval_batch_size=15, binarization=binarization, validation=20)
    data.prepare_data()
    data.setup()
    assert [x.shape for x, _ in data.train_dataloader()] == [(50, 3, 6, 10)] * 2
    assert [x.shape for x, _ in data.val_dataloader()] == [(15, 3, 6, 10), (5, 3, 6, 10)]
    assert [x.shape for x, _ in data.training_in_order()] == [(15, 3, 6, 10)] * 6 + [(10, 3, 6, 10)]
    assert data.test_images.shape == (20, 3, 6, 10)
    assert data.test_labels.tolist() == [0] * 20
    assert data.mean_image().shape == data.image_shape


def test_further_draws_of_the_bits_are_the_test_images_of_the_next_seeds():
    def set_up(seed):
        data = Colours(batch_size=50, validation=20, binarization_seed=seed)
        data.setup()
        return data

    draws = [torch.cat([x for x, _ in batches]) for batches in set_up(4).bit_draws(3)]
    assert [torch.equal(draw, set_up(seed).test_images) for draw, seed in zip(draws, (5, 6), strict=True)] == [True] * 2
    assert not torch.equal(*draws)


@pytest.mark.parametrize("binarization", ["threshold", "none"])
def test_bits_that_are_not_drawn_have_no_further_draws(binarization):
    data = Colours(batch_size=50, validation=20, binarization=binarization)
    data.setup()
    with pytest.raises(ConfigError, match=r"evaluation.bit_draws=3: no bits are drawn for these test images"):
        data.bit_draws(3)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"validation": 120}, "data.validation=120: must be at most 119"),
        ({"validation": 20, "batch_size": 101}, "data.batch_size=101: must be at most 100"),
    ],
)
def test_sizes_follow_from_the_set(options, line):
    with pytest.raises(ConfigError, match=line):
        Colours(**options)


def test_the_mean_image_is_exact_for_any_number_of_images():
    data = Colours(batch_size=1, validation=0)
    images = torch.randint(200, 256, (400_003, 1, 1, 1)).byte()  # they add up to more than 2²⁴
    data.train = Images(images, torch.zeros(len(images), dtype=torch.int64))
    assert data.mean_image().item() == pytest.approx(images.double().mean().item() / 255, rel=1e-7)
