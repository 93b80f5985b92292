"""A person's own files in MNIST's form: found where people put them, used as they are, never written over."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

import vae_lab
from helpers import TINY, call
from vae_lab.data import MNISTDataModule, idx
from vae_lab.data import mnist_files as files
from vae_lab.errors import ConfigError, DataError

TRAIN, TEST = 80, 30


def arrays(size: tuple[int, int] = (20, 12), labels: int = 3) -> list[np.ndarray]:
    """Small images of a person, (n, height, width), and their labels."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (n, *size), dtype=np.uint8) for n in (TRAIN, TEST)]
    kinds = [(np.arange(n) % labels).astype(np.uint8) for n in (TRAIN, TEST)]
    return [images[0], kinds[0], images[1], kinds[1]]


def write(folder: Path, contents: list[np.ndarray] | None = None) -> Path:
    """Write four files under MNIST's names; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in zip(files.FILES, contents or arrays(), strict=True):
        idx.write(folder / name, values)
    return folder


def own(where: Path, **options) -> MNISTDataModule:
    return MNISTDataModule(**{"root": str(where), "checksums": "own", "validation": 10, "batch_size": 10} | options)


def everything(folder: Path) -> dict[Path, tuple[bool, bytes]]:
    return {path: (path.is_symlink(), path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_own_files_are_used_as_they_are(tmp_path):
    raw = write(tmp_path / "MNIST" / "raw", arrays((20, 12), 13))
    before = everything(tmp_path)
    data = own(tmp_path)
    assert data.image_shape == (1, 20, 12)
    assert data.train_size == TRAIN
    assert data.labels == tuple(str(label) for label in range(13))
    data.prepare_data()
    data.setup()
    assert torch.equal(data.test.labels, torch.arange(TEST) % 13)
    assert data.recorded == {"sha256": [hashlib.sha256((raw / name).read_bytes()).hexdigest() for name in files.FILES]}
    assert everything(tmp_path) == before


def kaggle(root: Path) -> None:
    for name, values in zip(files.FILES, arrays(), strict=True):
        folder = root / "MNIST" / "raw" / name
        folder.mkdir(parents=True)
        idx.write(folder / name.replace("-idx", ".idx"), values)


def packed(root: Path) -> None:
    for file in write(root / "MNIST" / "raw").iterdir():
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()


def renamed(pattern: str):
    def lay(root: Path) -> None:
        for file in write(root / "MNIST" / "raw").iterdir():
            file.rename(file.with_name(pattern.format(*file.name.split("-"))))

    return lay


def linked(root: Path) -> None:
    write(root / "elsewhere" / "far")
    (root / "MNIST" / "raw").mkdir(parents=True)
    for name in files.FILES:
        (root / "MNIST" / "raw" / name).symlink_to(root / "elsewhere" / "far" / name)


LAYOUTS = {
    "torchvision's": lambda root: write(root / "MNIST" / "raw"),
    "one level up": lambda root: write(root / "MNIST"),
    "loose": write,
    "the set's folder itself": lambda root: write(root / "raw"),
    "one level down": lambda root: write(root / "MNIST" / "raw" / "unpacked"),
    "a folder of another name": lambda root: write(root / "my digits"),
    "lower case": lambda root: write(root / "mnist" / "raw"),
    "beside another set": lambda root: (write(root / "FashionMNIST" / "raw"), write(root / "MNIST" / "raw")),
    "a folder for each": kaggle,
    "packed": packed,
    "with dots": renamed("{}-{}.{}-{}"),
    "with dots, packed or not": renamed("{}-{}.{}-{}.gz"),
    "with underscores": renamed("{}_{}_{}_{}"),
    "in capitals": renamed("{}-{}.{}-UBYTE"),
    "links": linked,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_files_are_found_where_people_put_them(tmp_path, monkeypatch, layout):
    monkeypatch.setattr(files, "_fetch", pytest.fail)
    layout(tmp_path)
    before = everything(tmp_path)
    assert own(tmp_path).train_size == TRAIN
    official = tuple(hashlib.md5((head(a) + a.tobytes()), usedforsecurity=False).hexdigest() for a in arrays())
    monkeypatch.setitem(files.RAW_MD5, "mnist", official)
    assert len(files.load("mnist", str(tmp_path))[0][0]) == TRAIN
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"checksum is another; if it is yours, data\.checksums=own"):
        files.load("mnist", str(tmp_path))
    assert everything(tmp_path) == before


def head(values: np.ndarray) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + b"".join(size.to_bytes(4, "big") for size in values.shape)


def test_home_is_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "digits" / "MNIST" / "raw")
    assert own(Path("~/digits")).train_size == TRAIN
    monkeypatch.setenv("VAE_LAB_DATA", "~/digits")
    assert own(Path(), root=None).train_size == TRAIN


def changed(index: int, change):
    def spoil(raw: Path) -> None:
        file = raw / files.FILES[index]
        file.write_bytes(change(file.read_bytes()))

    return spoil


def with_arrays(*contents: np.ndarray):
    return lambda raw: write(raw, list(contents))


IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = arrays()
FAULTS = {
    "cut off": (changed(0, lambda b: b[:100]), "its head says 80 × 20 × 12 bytes, and 84 follow"),
    "longer": (changed(2, lambda b: b + b"x"), "its head says 30 × 20 × 12 bytes, and 7,201 follow"),
    "empty": (changed(1, lambda _: b""), "it begins with nothing"),
    "another magic": (changed(0, lambda b: b"\0\0\x0d\3" + b[4:]), "begins with 00 00 0d 03, .* with 00 00 08 03"),
    "labels as images": (with_arrays(LABELS, LABELS, TEST_IMAGES, TEST_LABELS), "with 00 00 08 03"),
    "images as labels": (with_arrays(IMAGES, IMAGES, TEST_IMAGES, TEST_LABELS), "with 00 00 08 01"),
    "colours": (with_arrays(IMAGES[..., None], LABELS, TEST_IMAGES, TEST_LABELS), "begins with 00 00 08 04"),
    "a page": (changed(0, lambda _: b"<html></html>"), "begins with 3c 68 74 6d"),
    "a broken archive": (changed(0, lambda b: gzip.compress(b)[:-20]), "cannot be unpacked"),
    "no images": (with_arrays(IMAGES[:0], LABELS[:0], TEST_IMAGES, TEST_LABELS), "it holds nothing"),
    "fewer labels": (with_arrays(IMAGES, LABELS[1:], TEST_IMAGES, TEST_LABELS), "80 images and .* 79 labels"),
    "more labels": (with_arrays(IMAGES, LABELS, TEST_IMAGES[1:], TEST_LABELS), "29 images and .* 30 labels"),
    "other sizes": (with_arrays(IMAGES, LABELS, TEST_IMAGES[:, 1:], TEST_LABELS), "20 × 12 pixels and .* 19 × 12"),
    "one missing": (lambda raw: (raw / files.FILES[3]).unlink(), f"raw lacks {files.FILES[3]}; put your own there"),
    "all missing": (shutil.rmtree, f"raw lacks {', '.join(files.FILES)}; put your own there"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_own_files_that_cannot_be_used_are_named_in_one_line(tmp_path, fault):
    spoil, reason = FAULTS[fault]
    spoil(write(tmp_path / "MNIST" / "raw"))
    before = everything(tmp_path)
    with pytest.raises(DataError, match=reason) as raised:
        own(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(tmp_path) in str(raised.value)
    assert everything(tmp_path) == before


def test_two_folders_of_such_files_are_not_mixed(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(DataError, match=f"in several folders: {tmp_path}/a, {tmp_path}/b; name one"):
        own(tmp_path)
    assert own(tmp_path / "a").train_size == TRAIN  # as the line says


def test_own_files_must_have_the_digests_that_are_asked_for(tmp_path):
    raw = write(tmp_path / "MNIST" / "raw")
    digests = own(tmp_path).recorded["sha256"]
    assert own(tmp_path, sha256=digests).image_shape == (1, 20, 12)
    idx.write(raw / files.FILES[1], 1 + arrays()[1])
    with pytest.raises(DataError, match=f"{files.FILES[1]} .* is not the file that data.sha256 names"):
        own(tmp_path, sha256=digests)
    with pytest.raises(ConfigError, match=r"data\.sha256=.*: is of data\.checksums=own; leave it out"):
        own(tmp_path, sha256=digests, checksums="official")


def test_what_is_made_from_own_files_is_kept_apart(tmp_path):
    raw = write(tmp_path / "MNIST" / "raw")
    first = own(tmp_path).folder
    idx.write(raw / files.FILES[1], 1 + arrays()[1])
    assert len({first, own(tmp_path).folder, files.folder_of("mnist", str(tmp_path))}) == 3


OTHERS = {
    "pictures": ["cat.png", "dog.jpg"],
    "pictures in folders": ["cats/1.png", "dogs/1.png"],
    "pictures in the set's folder": ["MNIST/0/1.png"],
    "arrays where the files belong": ["MNIST/raw/mnist.npz"],
    "a table": ["train.csv"],
}


@pytest.mark.parametrize("others", OTHERS.values(), ids=OTHERS)
def test_a_folder_of_other_things_is_not_filled(tmp_path, monkeypatch, others):
    monkeypatch.setattr(files, "_fetch", pytest.fail)
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = everything(tmp_path)
    for root in (str(tmp_path), None):
        monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path))
        with pytest.raises(DataError) as raised:
            files.load("mnist", root)
        line = str(raised.value)
        assert others[0].split("/")[-1 if others[0].startswith("MNIST/raw") else 0].removeprefix("MNIST") in line
        assert all(name in line for name in files.FILES)
    assert everything(tmp_path) == before
    if not (tmp_path / "MNIST" / "raw").is_dir():  # as the line says
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
        monkeypatch.setattr(files, "_fetch", lambda *_: ["no network"])
        with pytest.raises(DataError, match="no network"):
            files.load("mnist", str(tmp_path))


@pytest.mark.parametrize("others", [[], ["FashionMNIST/raw/x"], [".hidden", "lost+found/x"], ["MNIST/classifier.pt"]])
def test_a_folder_of_our_own_is_filled(tmp_path, monkeypatch, others):
    monkeypatch.setattr(files, "_fetch", lambda *_: ["no network"])
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with pytest.raises(DataError, match="no network"):
        files.load("mnist", str(tmp_path))


def test_some_files_at_an_unusual_place_are_not_completed_at_another(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "_read", lambda *_: np.zeros(1))
    monkeypatch.setattr(files, "_fetch", pytest.fail)
    (write(tmp_path) / files.FILES[3]).unlink()
    with pytest.raises(DataError, match=f"{tmp_path} holds some files of MNIST and lacks {files.FILES[3]}"):
        files.load("mnist", str(tmp_path))


TINY_OWN = (*TINY, "data.checksums=own", "data.validation=10", "data.batch_size=10", "data.root=mine")


def test_a_run_on_own_files_records_them_and_its_folder_tells_them_from_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = write(tmp_path / "mine" / "MNIST" / "raw")
    before = everything(raw)
    answer = call(*TINY_OWN, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "data.checksums=own: the files in mine/MNIST/raw are used as they are" in answer.out
    saved = OmegaConf.load("run/config.yaml")
    assert saved.data.checksums == "own"
    assert saved.data.sha256 == [hashlib.sha256((raw / name).read_bytes()).hexdigest() for name in files.FILES]
    assert list(saved.image_shape) == [1, 20, 12]
    assert json.loads(Path("run/metrics.json").read_text())["test/n"] == TEST
    assert everything(raw) == before
    evaluate = ("task=evaluate", "run_dir=run", "trainer.accelerator=cpu", "evaluation.k=2", "evaluation.samples=none")
    answer = call(*evaluate, "data.root=mine")
    assert answer.code == 0, answer.err
    idx.write(raw / files.FILES[2], 255 - arrays()[2])
    answer = call(*evaluate, "data.root=mine")
    assert answer.code == 2
    assert f"{files.FILES[2]} in mine is not the file that data.sha256 names" in answer.err
    shutil.rmtree("mine")
    assert vae_lab.load("run").sample(2).shape == (2, 1, 20, 12)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "checksum is another; if it is yours, data.checksums=own"),
        (("data.checksums=own", "data.validation=90"), "data.validation=90: must be at most 79"),
        (("data.checksums=mine",), "data.checksums=mine: must be 'official' or 'own'"),
        (("data.sha256=[abc]",), "data.sha256=['abc']: "),
        (("data.root=",), "data.root=: "),
    ],
)
def test_a_command_that_cannot_use_them_ends_in_one_line_and_leaves_no_folder(tmp_path, monkeypatch, arguments, line):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "mine" / "MNIST" / "raw")
    before = everything(tmp_path)
    answer = call(*TINY, "data.root=mine", *arguments)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    assert line in answer.err
    assert everything(tmp_path) == before
    assert not list(tmp_path.glob("outputs/*/*"))
