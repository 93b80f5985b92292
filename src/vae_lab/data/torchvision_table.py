"""The sets of torchvision that can be trained on: images of one size, with training and test images.

Nothing of torchvision is imported here: a run is loaded without it.
"""

import string
from typing import Any, NamedTuple

from vae_lab.annotations import ImageShape


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


DIGITS = tuple(string.digits)
LETTERS = tuple(string.ascii_lowercase)
CAPITALS = tuple(string.ascii_uppercase)
CIFAR10 = _words("airplane automobile bird cat deer dog frog horse ship truck")
CIFAR100 = _words(
    """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
    caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
    flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
    motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
    poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
    wardrobe whale willow_tree wolf woman worm"""
)
STL10 = _words("airplane bird car cat deer dog horse monkey ship truck")


class Part(NamedTuple):
    """What one choice of ``data.split`` takes of a set."""

    training: tuple[dict[str, Any], ...]
    """Arguments of torchvision's class for each group of training images."""
    test: dict[str, Any]
    """Arguments of torchvision's class for the test images."""
    train_size: int
    """Number of training images."""
    test_size: int
    """Number of test images."""
    labels: tuple[str, ...] | None
    """Name of each label; None where some images have none, or test images have others."""
    first_label: int = 0
    """Number that the set gives to the first label."""


class ImageSet(NamedTuple):
    """One set of torchvision."""

    shape: ImageShape
    """Channels, height and width of each image."""
    layout: str
    """Order of the dimensions of an image in torchvision's class, in the letters C, H and W."""
    parts: dict[str, Part]
    """Choices of ``data.split``, the default first."""


def _emnist(split: str, train_size: int, test_size: int, labels: tuple[str, ...], first_label: int = 0) -> Part:
    training, test = ({"split": split, "train": is_training} for is_training in (True, False))
    return Part((training,), test, train_size, test_size, labels, first_label)


def _svhn(train_size: int, *splits: str) -> Part:
    return Part(tuple({"split": split} for split in splits), {"split": "test"}, train_size, 26_032, DIGITS)


def _stl10(train_size: int, split: str, labels: tuple[str, ...] | None) -> Part:
    return Part(({"split": split},), {"split": "test"}, train_size, 8_000, labels)


def _qmnist(test_size: int, what: str) -> Part:
    return Part(({"what": "train"},), {"what": what}, 60_000, test_size, DIGITS)


def _plain(train_size: int, test_size: int, labels: tuple[str, ...] | None, argument: str = "train") -> dict[str, Part]:
    """A set with one choice, whose class asks by one flag for training or test images."""
    return {"all": Part(({argument: True},), {argument: False}, train_size, test_size, labels)}


_MERGED = (*DIGITS, *CAPITALS, *"abdefghnqrt")  # small letters that look like their capitals count as those

SETS = {
    "CIFAR10": ImageSet((3, 32, 32), "HWC", _plain(50_000, 10_000, CIFAR10)),
    "CIFAR100": ImageSet((3, 32, 32), "HWC", _plain(50_000, 10_000, CIFAR100)),
    "SVHN": ImageSet(
        (3, 32, 32),
        "CHW",
        {
            "train": _svhn(73_257, "train"),
            "train+extra": _svhn(604_388, "train", "extra"),
            "extra": _svhn(531_131, "extra"),
        },
    ),
    "EMNIST": ImageSet(
        (1, 28, 28),
        "WH",  # torchvision gives the files as they are, with rows and columns exchanged
        {
            "balanced": _emnist("balanced", 112_800, 18_800, _MERGED),
            "byclass": _emnist("byclass", 697_932, 116_323, (*DIGITS, *CAPITALS, *LETTERS)),
            "bymerge": _emnist("bymerge", 697_932, 116_323, _MERGED),
            "letters": _emnist("letters", 124_800, 20_800, LETTERS, first_label=1),
            "digits": _emnist("digits", 240_000, 40_000, DIGITS),
            "mnist": _emnist("mnist", 60_000, 10_000, DIGITS),
        },
    ),
    "QMNIST": ImageSet(
        (1, 28, 28),
        "HW",
        {"test": _qmnist(60_000, "test"), "test10k": _qmnist(10_000, "test10k"), "test50k": _qmnist(50_000, "test50k")},
    ),
    "USPS": ImageSet((1, 16, 16), "HW", _plain(7_291, 2_007, DIGITS)),
    "STL10": ImageSet(
        (3, 96, 96),
        "CHW",
        {
            "train": _stl10(5_000, "train", STL10),
            "unlabeled": _stl10(100_000, "unlabeled", None),
            "train+unlabeled": _stl10(105_000, "train+unlabeled", None),
        },
    ),
    # the test images are of other characters and alphabets than those to train on
    "Omniglot": ImageSet((1, 105, 105), "HW", _plain(19_280, 13_180, None, "background")),
}
ELSEWHERE = {"MNIST": "mnist", "FashionMNIST": "fashion_mnist", "KMNIST": "kmnist"}  # choices of their own
