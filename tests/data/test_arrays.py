"""A person's arrays: what they are is found by names, dimensions and values, or refused."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

import vae_lab
from helpers import call
from vae_lab.data import ArraysDataModule
from vae_lab.errors import ConfigError, DataError

N = 20
RANDOM = np.random.default_rng(0)
LEVELS = RANDOM.integers(0, 256, (N, 5, 4), dtype=np.uint8)
COLOURS = RANDOM.integers(0, 256, (N, 5, 4, 3), dtype=np.uint8)
KINDS = np.arange(N) % 3


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def saved(name: str, **arrays) -> Path:
    file = Path(name).absolute()
    if file.suffix == ".npz":
        np.savez(file, **arrays)
    elif file.suffix == ".npy":
        np.save(file, *arrays.values())
    else:
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, file)
    return file


def data_of(file: Path, **options) -> ArraysDataModule:
    data = ArraysDataModule(str(file), **({"batch_size": 1} | options))
    data.prepare_data()
    data.setup()
    return data


def all_of(data: ArraysDataModule) -> tuple[torch.Tensor, torch.Tensor]:
    parts = (data.train, data.val, data.test)
    return torch.cat([part.images for part in parts]), torch.cat([part.labels for part in parts])


def as_a_set(images: np.ndarray | torch.Tensor) -> set[bytes]:
    return {np.ascontiguousarray(image).tobytes() for image in np.asarray(images)}


@pytest.mark.parametrize("kind", ["npz", "npy", "pt"])
def test_each_kind_of_file_gives_its_images(kind):
    data = data_of(saved(f"set.{kind}", images=LEVELS))
    assert data.image_shape == (1, 5, 4)
    assert data.labels is None
    assert as_a_set(all_of(data)[0]) == as_a_set(LEVELS)
    assert [len(part.images) for part in (data.train, data.val, data.test)] == [16, 2, 2]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (COLOURS, COLOURS.transpose(0, 3, 1, 2)),
        (COLOURS.transpose(0, 3, 1, 2), COLOURS.transpose(0, 3, 1, 2)),
        (LEVELS[..., None], LEVELS[:, None]),
        (LEVELS > 100, (LEVELS > 100)[:, None] * np.uint8(255)),
        (LEVELS / 255, LEVELS[:, None]),
        ((LEVELS / 255).astype(np.float32), LEVELS[:, None]),
        ((LEVELS / 255).astype(np.float16), LEVELS[:, None]),
    ],
    ids=["NHWC", "NCHW", "one channel last", "bool", "float64", "float32", "float16"],
)
def test_images_become_levels_with_channels_first(images, expected):
    assert as_a_set(all_of(data_of(saved("set.npz", images=images)))[0]) == as_a_set(expected)


def test_labels_stay_with_their_images():
    images = np.broadcast_to(np.arange(N, dtype=np.uint8)[:, None, None], (N, 5, 4)) * np.uint8(10)
    for labels in (KINDS * 7, KINDS[:, None] * 7, np.asarray(["b", "c", "d"])[KINDS]):
        data = data_of(saved("set.npz", x=images, y=labels))
        found, numbers = all_of(data)
        assert data.labels == (("0", "7", "14") if labels.dtype != np.dtype("U1") else ("b", "c", "d"))
        assert torch.equal(numbers, found[:, 0, 0, 0].long() // 10 % 3)
        Path("set.npz").unlink()


@pytest.mark.parametrize(
    "names",
    [
        ("x_train", "y_train", "x_test", "y_test"),
        ("train_images", "train_labels", "test_images", "test_labels"),
        ("X_train", "Y_train", "X_test", "Y_test"),
    ],
)
def test_parts_are_found_by_their_names(names):
    arrays = dict(zip(names, (LEVELS[:15], KINDS[:15], LEVELS[15:], KINDS[15:]), strict=True))
    data = data_of(saved("set.npz", **arrays))
    assert as_a_set(data.test.images) == as_a_set(LEVELS[15:])
    assert data.labels == ("0", "1", "2")
    with pytest.raises(ConfigError, match=r"data\.test=3: the files have 5 images for this"):
        data_of(saved("set.npz", **arrays), test=3)


def test_a_part_for_validation_is_used():
    data = data_of(saved("set.npz", train_images=LEVELS[:10], val_images=LEVELS[10:14], test_images=LEVELS[14:]))
    assert as_a_set(data.val.images) == as_a_set(LEVELS[10:14])
    assert as_a_set(data.train.images) == as_a_set(LEVELS[:10])


def test_keys_that_are_named_are_used(caplog):
    with caplog.at_level("INFO"):
        file = saved("set.npz", first=LEVELS, second=COLOURS, kinds=KINDS)
        assert data_of(file, images_key="second", labels_key="kinds").image_shape == (3, 5, 4)
        data_of(saved("one.npz", pictures=LEVELS))
    assert "images: pictures (20 × 5 × 4, uint8), no labels" in caplog.text


def test_values_between_levels_are_rounded_and_the_log_says_so(caplog):
    with caplog.at_level("INFO"):
        data = data_of(saved("set.npy", images=np.full((N, 5, 4), 0.1234)))
    assert all_of(data)[0].unique().tolist() == [round(0.1234 * 255)]
    assert "rounded to 256 levels, by up to" in caplog.text


REFUSED = {
    "above 1": ({"images": LEVELS.astype(np.float32)}, r"float32 from 0\.0 to 25\d\.0, and floats must be in \[0, 1\]"),
    "below 0": ({"images": LEVELS / 255 - 0.5}, r"from -0\.5 to"),
    "not a number": ({"images": np.full((N, 5, 4), np.nan)}, r"from nan to nan"),
    "other integers": ({"images": LEVELS.astype(np.int32)}, r"int32 .* must be uint8, bool or float in \[0, 1\]"),
    "bits as bytes": ({"images": (LEVELS > 99).astype(np.uint8)}, r"from 0 to 1, .* save bits as bool"),
    "flat": ({"images": LEVELS.reshape(N, -1)}, r"are 20 × 20, and must be images × height × width"),
    "two channels": ({"images": np.repeat(LEVELS[..., None], 2, 3)}, r"are 20 × 5 × 4 × 2, and must be"),
    "empty": ({"images": LEVELS[:0]}, r"no images"),
    "labels too few": ({"images": LEVELS, "labels": KINDS[1:]}, r"20 images and 19 labels"),
    "several labels": ({"images": LEVELS, "labels": np.zeros((N, 2))}, r"several labels for each image"),
    "broken labels": ({"images": LEVELS, "labels": KINDS + 0.5}, r"labels that are no whole numbers"),
    "shapes": ({"x_train": LEVELS, "x_test": LEVELS[:, :3]}, r"differ in shape"),
    "objects": ({"images": np.asarray([None] * N)}, r"cannot be read"),
    "only a test": ({"x_test": LEVELS}, r"has no images to train on"),
}


@pytest.mark.parametrize(("arrays", "line"), REFUSED.values(), ids=REFUSED)
def test_arrays_that_are_no_images_are_refused(arrays, line):
    with pytest.raises(DataError, match=line):
        data_of(saved("set.npz", **arrays))


@pytest.mark.parametrize(
    ("arrays", "options", "line"),
    [
        ({"images": COLOURS[:, :3, :3]}, {}, r"data\.layout=None: .*data\.layout=NHWC or NCHW"),
        ({"images": COLOURS}, {"layout": "NCHW"}, r"data\.layout=NCHW: the images in .* are 20 × 5 × 4 × 3"),
        ({"a": LEVELS, "b": LEVELS}, {}, r"a and b may both be images; name them"),
        ({"images": LEVELS}, {"images_key": "other"}, r"data\.images_key=other: .* holds images \(20 × 5 × 4, uint8\)"),
        ({"images": LEVELS}, {"labels_key": "images"}, r"needs data\.images_key beside it"),
        ({"images": LEVELS}, {"test": 20}, r"data\.test=20: must leave images to train on"),
    ],
)
def test_what_is_left_open_is_asked_for(arrays, options, line):
    with pytest.raises(ConfigError, match=line):
        data_of(saved("set.npz", **arrays), **options)


def test_a_layout_that_is_named_is_used():
    images = RANDOM.integers(0, 256, (N, 3, 4, 3), dtype=np.uint8)
    file = saved("set.npy", images=images)
    assert data_of(file, layout="NHWC").image_shape == (3, 3, 4)
    assert data_of(file, layout="NCHW").image_shape == (3, 4, 3)


class Acts:
    def __reduce__(self):
        return Path.touch, (Path("acted"),)


@pytest.mark.parametrize("name", ["set.pt", "set.npy", "set.npz", "set.csv", "missing.npz"])
def test_a_file_that_would_act_or_is_of_another_kind_is_refused(name):
    if name == "set.npz":
        np.savez(name, images=np.asarray([Acts()], object))
    elif name == "set.npy":
        np.save(name, np.asarray([Acts()], object))
    elif name.startswith("set"):
        Path(name).write_bytes(pickle.dumps(Acts()))
    with pytest.raises(DataError):
        data_of(Path(name))
    assert not Path("acted").exists()


def test_a_run_on_arrays_is_loaded_without_them_and_evaluated_where_they_are_now():
    saved("set.npz", images=LEVELS, labels=KINDS)
    quick = (
        "debug=fast",
        "trainer.accelerator=cpu",
        "hidden_dims=[8]",
        "latent_dim=2",
        "callbacks=none",
        "logger=none",
    )
    assert not call("data=arrays", "data.file=set.npz", "data.batch_size=4", *quick, "hydra.run.dir=run").code
    Path("set.npz").rename("moved.npz")
    assert vae_lab.load("run").sample(2).shape == (2, 1, 5, 4)
    evaluate = ("task=evaluate", "run_dir=run", "evaluation.samples=none", "evaluation.k=2", "trainer.accelerator=cpu")
    answer = call(*evaluate)
    assert answer.code == 2
    assert "there is no such file" in answer.err
    assert not call(*evaluate, "data=arrays", "data.file=moved.npz").code
    np.savez("moved.npz", images=LEVELS[::-1], labels=KINDS)
    assert "data.sha256 names" in call(*evaluate, "data=arrays", "data.file=moved.npz").err
