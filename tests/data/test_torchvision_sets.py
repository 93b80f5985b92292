"""CIFAR, SVHN, EMNIST and others from files in their own formats, and what is said where files are missing."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets

import published_sets as sets
from helpers import TINY, call
from vae_lab.data import TorchvisionDataModule
from vae_lab.data.torchvision_table import SETS
from vae_lab.errors import ConfigError, DataError

BY_NAME = {
    "CIFAR10": sets.cifar,
    "CIFAR100": lambda patch, folder: sets.cifar(patch, folder, "CIFAR100"),
    "SVHN": sets.svhn,
    "EMNIST": sets.emnist,
    "QMNIST": sets.qmnist,
    "USPS": sets.usps,
    "STL10": sets.stl10,
    "Omniglot": sets.omniglot,
}


@pytest.fixture
def source(tmp_path):
    """A folder that stands for the network."""
    folder = tmp_path / "source"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


def made(root, name="CIFAR10", **options):
    options = {"batch_size": 10, "validation": 10} | options
    return TorchvisionDataModule(name, root=str(root), **options)


def in_order(images):
    return sorted(image.tobytes() for image in np.asarray(images))


def names_in(root):
    return sorted(path.name for path in root.iterdir()) if root.exists() else []


@pytest.mark.parametrize("name", SETS)
def test_each_set_is_fetched_and_read_upright_with_labels_from_zero(monkeypatch, source, root, name):
    there = BY_NAME[name](monkeypatch, source)
    data = made(root, name)
    data.prepare_data()
    data.setup()
    (training, labels), (test, test_labels) = data.read()
    assert training.dtype == torch.uint8
    assert training.shape[1:] == data.image_shape
    if name == "Omniglot":  # torchvision takes files as the system lists them
        assert in_order(training) == in_order(there.training)
        assert in_order(test) == in_order(there.test)
        assert data.labels is None
    else:
        assert np.array_equal(training, there.training)
        assert np.array_equal(test, there.test)
        assert np.array_equal(labels, there.labels)
        assert np.array_equal(test_labels, there.test_labels)
        assert len(set(data.labels)) == len(data.labels)
    assert [len(part.images) for part in (data.train, data.val, data.test)] == [30, 10, 12]
    assert not [entry for entry in names_in(root) if entry.startswith(".fetch")]


def test_letters_of_emnist_are_numbered_from_zero(monkeypatch, source, root):
    there = sets.emnist(monkeypatch, source, "letters", first_label=1)
    (_, labels), _ = made(root, "EMNIST", split="letters").read()
    assert np.array_equal(labels, there.labels)
    assert labels.min() == 0


def test_extra_images_of_svhn_join_those_to_train_on(monkeypatch, source, root):
    there = sets.svhn(monkeypatch, source, "train+extra")
    data = made(root, "SVHN", split="train+extra")
    (images, labels), _ = data.read()
    assert len(images) == data.train_size == 2 * sets.TRAINING
    assert np.array_equal(images, there.training)
    assert np.array_equal(labels, there.labels)


def test_images_without_labels_have_none(monkeypatch, source, root):
    there = sets.stl10(monkeypatch, source, "unlabeled")
    data = made(root, "STL10", split="unlabeled")
    (images, labels), _ = data.read()
    assert data.labels is None
    assert np.array_equal(images, there.training)
    assert not labels.any()


@pytest.mark.parametrize("name", SETS)
def test_the_table_names_as_many_labels_as_torchvision(name):
    kind = getattr(torchvision.datasets, name)
    for split, part in SETS[name].parts.items():
        if name == "EMNIST":
            known = [label for label in kind.classes_split_dict[split] if label != "N/A"]
            assert list(part.labels) == known
        elif name.startswith("CIFAR"):
            assert len(part.labels) == int(name.removeprefix("CIFAR"))


def test_an_archive_that_was_put_there_is_unpacked_without_network(monkeypatch, source, root):
    there = sets.cifar(monkeypatch, source)
    root.mkdir()
    there.archive.rename(root / there.archive.name)
    (training, _), _ = made(root).read()
    assert np.array_equal(training, there.training)
    assert (root / there.archive.name).is_file()


def test_without_network_one_line_names_the_files_and_their_folder(monkeypatch, source, root):
    sets.cifar(monkeypatch, source).archive.unlink()
    with pytest.raises(DataError) as raised:
        made(root).prepare_data()
    assert "CIFAR10 is not there and could not be fetched" in str(raised.value)
    assert str(raised.value).endswith(f"Put cifar-10-python.tar.gz into {root}")
    assert "\n" not in str(raised.value)


def test_without_network_only_the_files_that_are_missing_are_named(monkeypatch, source, root):
    sets.qmnist(monkeypatch, source)
    made(root, "QMNIST").read()
    sets.told(monkeypatch, "QMNIST")
    for name in ("qmnist-test-images-idx3-ubyte", "qmnist-test-images-idx3-ubyte.gz"):
        (root / "QMNIST" / "raw" / name).unlink()
    (source / "qmnist-test-images-idx3-ubyte.gz").unlink()
    with pytest.raises(DataError) as raised:
        made(root, "QMNIST").read()
    assert str(raised.value).endswith(f"Put qmnist-test-images-idx3-ubyte.gz into {root / 'QMNIST' / 'raw'}")


@pytest.mark.parametrize("name", ["CIFAR10", "USPS", "EMNIST", "Omniglot"])
def test_a_download_that_stops_half_way_is_not_taken_for_whole(monkeypatch, source, root, name):
    there = BY_NAME[name](monkeypatch, source)

    def stops(_, file):
        Path(file).write_bytes(there.archive.read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets.utils, "_urlretrieve", stops)
        with pytest.raises(KeyboardInterrupt):
            made(root, name).prepare_data()
    assert names_in(root) == [f".{name}.lock"]
    (training, _), _ = made(root, name).read()
    assert in_order(training) == in_order(there.training)


def test_an_archive_that_is_cut_off_at_its_source_is_refused(monkeypatch, source, root):
    archive = sets.cifar(monkeypatch, source).archive
    archive.write_bytes(archive.read_bytes()[:-100])
    with pytest.raises(DataError, match="could not be fetched"):
        made(root).read()
    assert names_in(root) == [".CIFAR10.lock"]


def test_a_damaged_file_is_named_before_it_is_unpickled(monkeypatch, source, root):
    sets.cifar(monkeypatch, source)
    made(root).read()
    sets.told(monkeypatch, "CIFAR10")
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(b"cos\nabort\n(tR.")
    with pytest.raises(DataError, match=f"{file}: is damaged, or not the file of CIFAR10"):
        made(root).read()
    assert file.read_bytes() == b"cos\nabort\n(tR."


def test_a_damaged_file_without_checksum_is_named(monkeypatch, source, root):
    sets.emnist(monkeypatch, source)
    made(root, "EMNIST").read()
    sets.told(monkeypatch, "EMNIST")
    file = root / "EMNIST" / "raw" / "emnist-balanced-test-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=f"{file}.*cannot be read"):
        made(root, "EMNIST").read()


def test_a_set_of_another_number_of_images_is_refused(monkeypatch, source, root):
    sets.emnist(monkeypatch, source)
    monkeypatch.setattr(sets, "TRAINING", sets.TRAINING + 1)
    sets.told(monkeypatch, "EMNIST")
    with pytest.raises(DataError, match="hold 40 × 1 × 28 × 28 values, not 41 × 1 × 28 × 28"):
        made(root, "EMNIST").read()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "CelebA"}, "data.name=CelebA: of torchvision's sets there are CIFAR10, CIFAR100, SVHN"),
        ({"name": "MNIST"}, "data.name=MNIST: has a choice of its own; use data=mnist"),
        ({"name": "EMNIST", "split": "digit"}, "data.split=digit: of EMNIST there are balanced, byclass"),
        ({"name": "USPS", "split": "train"}, "data.split=train: USPS has no parts to choose from"),
        ({"name": "USPS", "validation": 7291}, "data.validation=7291: must be at most 7290"),
    ],
)
def test_what_is_not_offered_is_refused_with_what_is(options, line):
    with pytest.raises(ConfigError, match=line):
        TorchvisionDataModule(**options)


@pytest.mark.slow
def test_the_program_trains_on_one_of_them_and_tests_it_again(monkeypatch, source, root, tmp_path):
    sets.cifar(monkeypatch, source)
    monkeypatch.chdir(tmp_path)
    choice = ("data=torchvision", "data.name=CIFAR10", f"data.root={root}", "likelihood=categorical")
    tiny = [argument for argument in TINY if not argument.startswith("data.")]
    trained = call(*choice, *tiny, "data.batch_size=10", "data.validation=10", "hydra.run.dir=run")
    assert trained.code == 0, trained.err
    few = ("evaluation.k=2", "evaluation.samples=12", "trainer.accelerator=cpu")
    again = call("task=evaluate", "run_dir=run", f"data.root={root}", *few)
    assert again.code == 0, again.err
    assert all("bits/dimension" in answer.out for answer in (trained, again))
    assert "labels from codes" in again.out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    bits = metrics["test/nelbo"] / (3 * 32 * 32 * math.log(2))
    assert metrics["test/bits_per_dimension"] == pytest.approx(bits)
    assert 0 < metrics["test/bits_per_dimension_iwae_2"] < 8.5
