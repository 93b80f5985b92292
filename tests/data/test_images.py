"""A person's pictures: found, decoded once, split, never written to."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vae_lab
from helpers import call
from vae_lab.data import ImagesDataModule, picture_cache
from vae_lab.errors import ConfigError, DataError

QUICK = ("debug=fast", "trainer.accelerator=cpu", "hidden_dims=[8]", "latent_dim=2", "callbacks=none", "logger=none")


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def picture(file: Path, level: int = 100, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
    """A picture of one colour, height × width."""
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size[::-1], level if mode == "L" else (level, 0, 50)).save(file)
    return file


def album(root: Path, kinds: tuple[str, ...] = ("cat", "dog"), n: int = 10) -> Path:
    for k, kind in enumerate(kinds):
        for i in range(n):
            picture(root / kind / f"{i}.png", level=20 * k + i)
    return root


def files_in(root: Path) -> list[tuple[str, bytes]]:
    return sorted((str(path), path.read_bytes()) for path in root.rglob("*") if path.is_file())


def data_of(root: Path, **options) -> ImagesDataModule:
    data = ImagesDataModule(str(root), **({"batch_size": 1} | options))
    data.setup()
    return data


def test_class_folders_become_labels_and_every_picture_is_in_one_part(tmp_path):
    before = files_in(album(tmp_path / "pets"))
    data = data_of(tmp_path / "pets", validation=4, test=0.25)
    assert data.image_shape == (3, 6, 4)
    assert data.labels == ("cat", "dog")
    assert (len(data.train.images), len(data.val.images), len(data.test.images)) == (11, 4, 5)
    images = torch.cat([part.images for part in (data.train, data.val, data.test)])
    labels = torch.cat([part.labels for part in (data.train, data.val, data.test)])
    levels = images[:, 0, 0, 0].long()
    assert sorted(levels.tolist()) == [*range(10), *range(20, 30)]
    assert torch.equal(labels, levels // 20)
    assert torch.equal(images[:, 2], torch.full((20, 6, 4), 50, dtype=torch.uint8))
    assert files_in(tmp_path / "pets") == before


def test_the_split_follows_its_seed_alone(tmp_path):
    album(tmp_path / "pets")
    tests = [
        data_of(tmp_path / "pets", split_seed=seed, seed=order).test.images for seed, order in ((1, 0), (1, 9), (2, 0))
    ]
    assert torch.equal(tests[0], tests[1])
    assert not torch.equal(tests[0], tests[2])


def test_labels_that_are_numbers_are_in_the_order_of_numbers(tmp_path):
    assert data_of(album(tmp_path / "digits", kinds=("10", "9", "other", "0"), n=3)).labels == ("0", "9", "10", "other")


@pytest.mark.parametrize("name_of_val", ["val", "valid", "validation"])
def test_folders_of_parts_are_used(tmp_path, name_of_val):
    for part, level, n in (("train", 10, 5), (name_of_val, 20, 3), ("test", 30, 2)):
        for i in range(n):
            picture(tmp_path / "set" / part / "deep" / "down" / f"{i}.png", level)
    picture(tmp_path / "set" / "more" / "unused.png", 99)
    data = data_of(tmp_path / "set")
    found = [set(part.images[:, 0].flatten().tolist()) for part in (data.train, data.val, data.test)]
    assert found == [{10}, {20}, {30}]
    assert [len(part.images) for part in (data.train, data.val, data.test)] == [5, 3, 2]
    with pytest.raises(ConfigError, match=r"data\.validation=2: the files have 3 images for this; leave it out"):
        data_of(tmp_path / "set", validation=2)


def test_pictures_outside_of_class_folders_have_no_labels(tmp_path):
    album(tmp_path / "mixed")
    picture(tmp_path / "mixed" / "alone.png")
    assert data_of(tmp_path / "mixed").labels is None


def test_hidden_files_other_files_and_links_that_lead_back_are_left_out(tmp_path):
    root = album(tmp_path / "pets")
    picture(root / ".thumbnails" / "0.png")
    (root / "notes.txt").write_text("of mine")
    (root / "cat" / "._0.png").write_bytes(b"no picture")
    (root / "dog" / "again").symlink_to(root)
    (root / "paper.pdf").write_bytes(b"%PDF-1.4")  # Pillow writes these, and does not read them
    picture(root / "__MACOSX" / "cat" / "0.png")
    data = data_of(root)
    assert data.train_size + len(data.test.images) == 20


def test_class_folders_may_be_links_to_folders_beside_them(tmp_path):
    root = album(tmp_path / "set" / "pool", n=5).parent
    (root / "train").mkdir()
    for kind in ("cat", "dog"):
        (root / "train" / kind).symlink_to(root / "pool" / kind)
    data = data_of(root)
    assert data.labels == ("cat", "dog")
    assert data.train_size + len(data.test.images) == 10


def square(size: int) -> np.ndarray:
    values = np.zeros((size, size), np.uint8)
    values[size // 4 : -size // 4, size // 4 : -size // 4] = 200
    return values


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("grey.png", lambda: Image.fromarray(np.full((8, 8), 77, np.uint8)), 77),
        ("sixteen.png", lambda: Image.fromarray(np.full((8, 8), 77 * 256 + 3, np.uint16)), 77),
        ("grey.gif", lambda: Image.new("L", (8, 8), 102), 102),
        ("bits.png", lambda: Image.new("1", (8, 8), 1), 255),
        ("clear.png", lambda: Image.new("RGBA", (8, 8), (0, 0, 0, 0)), 255),
        ("half.png", lambda: Image.new("LA", (8, 8), (0, 128)), 127),
        ("palette.gif", lambda: Image.new("RGB", (8, 8), (102, 102, 102)).convert("P"), 102),
        ("print.jpg", lambda: Image.new("CMYK", (8, 8), (0, 0, 0, 255)), 0),
        ("colour.bmp", lambda: Image.new("RGB", (8, 8), (255, 255, 255)), 255),
    ],
)
def test_every_kind_of_picture_becomes_eight_bits(tmp_path, name, make, expected):
    (tmp_path / "kinds").mkdir()
    for i in range(3):
        make().save(tmp_path / "kinds" / f"{i}{name}")
    data = data_of(tmp_path / "kinds", channels=1)
    assert data.image_shape == (1, 8, 8)
    assert (data.train.images.long() - expected).abs().max() <= 1


def test_pictures_are_turned_as_their_camera_says(tmp_path):
    (tmp_path / "turned").mkdir()
    values = np.zeros((4, 6), np.uint8)
    values[0] = 255  # the upper edge as it is stored
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° to the right
    for i in range(3):
        Image.fromarray(values).save(tmp_path / "turned" / f"{i}.png", exif=exif)
    data = data_of(tmp_path / "turned")
    assert data.image_shape == (1, 6, 4)
    assert torch.equal(data.train.images[0, 0], torch.from_numpy(np.rot90(values, -1).copy()))


def test_size_scales_and_cuts_out_the_centre(tmp_path):
    (tmp_path / "wide").mkdir()
    values = np.zeros((8, 16), np.uint8)
    values[:, 4:12] = 200  # a bright centre, as high as wide
    for i in range(3):
        Image.fromarray(values).save(tmp_path / "wide" / f"{i}.png")
    assert torch.equal(
        data_of(tmp_path / "wide", size=8).train.images[0], torch.full((1, 8, 8), 200, dtype=torch.uint8)
    )
    assert data_of(tmp_path / "wide", size=[4, 8]).image_shape == (1, 4, 8)


def test_several_sizes_are_refused_with_those_that_there_are(tmp_path):
    album(tmp_path / "pets")
    picture(tmp_path / "pets" / "cat" / "large.png", size=(9, 7))
    with pytest.raises(ConfigError, match=r"have 2 sizes, .*6 × 4 \(20, .*9 × 7 \(1, .*data\.size=\[6,4\]"):
        data_of(tmp_path / "pets")


def test_damaged_pictures_are_all_named_or_left_out(tmp_path, caplog):
    root = album(tmp_path / "pets")
    whole = (root / "cat" / "3.png").read_bytes()
    (root / "cat" / "3.png").write_bytes(whole[: len(whole) // 2])
    (root / "dog" / "5.png").write_bytes(b"not at all")
    (root / "dog" / "6.png").write_bytes(b"")
    (root / "dog" / "7.png").unlink()
    (root / "dog" / "7.png").symlink_to(tmp_path / "nowhere.png")
    for options in ({}, {"size": 4, "channels": 3}):  # found by the beginnings of the files, or when they are decoded
        with pytest.raises(DataError, match=r"of 20 pictures cannot be read: .*; repair or move") as error:
            data_of(root, **options)
        assert "dog/5.png" in str(error.value)
        assert "dog/6.png" in str(error.value)
        assert "4 of 20" in str(error.value)
        assert "cat/3.png" in str(error.value)  # its beginning is whole
    data = data_of(root, skip_damaged=True)
    assert data.train_size + len(data.test.images) == 16
    assert "cat/3.png" in caplog.text


def test_pictures_are_decoded_once_until_one_changes(tmp_path, monkeypatch):
    root = album(tmp_path / "pets")
    first = data_of(root)
    picture_cache._read_once.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(picture_cache, "_decode", pytest.fail)
        assert torch.equal(data_of(root).train.images, first.train.images)
    picture(root / "cat" / "0.png", 255)
    os.utime(root / "cat" / "0.png", (1, 1))
    second = data_of(root)
    assert (torch.cat([second.train.images, second.val.images, second.test.images]) == 255).any()
    with pytest.raises(DataError, match=r"its content is not what data\.sha256 names"):
        data_of(root, sha256=first.sha256)


@pytest.mark.parametrize("where", ["pets", "pets/cache"])
def test_nothing_is_written_into_the_folder_of_the_pictures(tmp_path, monkeypatch, where):
    root = album(tmp_path / "pets")
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / where))
    monkeypatch.setattr(picture_cache, "user_cache_dir", lambda _: str(tmp_path / "usual"))
    before = files_in(root)
    assert data_of(root).folder.is_relative_to(tmp_path / "usual")
    assert files_in(root) == before


def test_a_large_set_stays_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(picture_cache, "MAPPED_ABOVE", 0)
    loaded = []
    monkeypatch.setattr(
        picture_cache.np, "load", lambda *a, load=np.load, **k: loaded.append(load(*a, **k)) or loaded[-1]
    )
    data = data_of(album(tmp_path / "pets"))
    assert isinstance(loaded[0], np.memmap)
    assert data.train.images.data_ptr() == loaded[0].ctypes.data


def test_a_cached_set_that_is_damaged_is_named(tmp_path):
    data = data_of(album(tmp_path / "pets"))
    picture_cache._read_once.cache_clear()
    (data.folder / "images.npy").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"damaged .*delete this folder"):
        data_of(tmp_path / "pets")


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (Path.as_posix, "there is no such folder"),
        (lambda root: root.mkdir(), "there are no pictures to train on"),
        (lambda root: picture(root / "test" / "0.png"), "there are no pictures to train on (only in test)"),
        (lambda root: picture(root / "0.png"), "must leave images to train on"),
    ],
)
def test_a_folder_without_pictures_to_train_on_is_refused(tmp_path, make, line):
    make(tmp_path / "set")
    with pytest.raises((DataError, ConfigError)) as error:
        data_of(tmp_path / "set")
    assert line in str(error.value)


def test_a_run_on_pictures_is_loaded_without_them_evaluated_with_them_and_repeated(tmp_path):
    root = album(tmp_path / "pets", n=15)
    given = ("data=images", "data.root=pets", "data.batch_size=4")
    assert not call(*given, *QUICK, "hydra.run.dir=run").code
    (tmp_path / "there").mkdir()
    root.rename(tmp_path / "there" / "pets")
    assert vae_lab.load("run").sample(2).shape == (2, 3, 6, 4)
    evaluate = ("task=evaluate", "run_dir=run", "evaluation.samples=none", "evaluation.k=2", "trainer.accelerator=cpu")
    answer = call(*evaluate)
    assert answer.code == 2
    assert "there is no such folder" in answer.err
    assert not call(*evaluate, "data.root=there/pets").code
    picture(tmp_path / "there" / "pets" / "cat" / "0.png", 200)
    answer = call(*evaluate, "data.root=there/pets")
    assert answer.code == 2
    assert "data.sha256 names" in answer.err


def test_again_keeps_the_folder_of_the_pictures(tmp_path):
    album(tmp_path / "pets", n=15)
    assert not call("data=images", "data.root=pets", "data.batch_size=4", *QUICK, "hydra.run.dir=run").code
    answer = call("again=run", "seed=1", "--cfg", "job")
    assert answer.code == 0
    assert f"root: {tmp_path / 'pets'}" in answer.out


def test_the_folder_must_be_named():
    answer = call("data=images", *QUICK)
    assert answer.code == 2
    assert "data.root" in answer.err
    assert "Traceback" not in answer.err
