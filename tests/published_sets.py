"""Small files in the formats of torchvision's sets, and torchvision and our table told of them."""

import bz2
import gzip
import hashlib
import io
import pickle
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

import numpy as np
import scipy.io
import torchvision.datasets
from PIL import Image

import helpers
from vae_lab.data import torchvision_files, torchvision_table

TRAINING, TEST = 40, 12


class Made(NamedTuple):
    """What was written: the archive, and images (n, channels, height, width) and labels to train on and to test on."""

    archive: Path
    training: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    test_labels: np.ndarray


def md5_of(content: bytes | Path) -> str:
    content = content.read_bytes() if isinstance(content, Path) else content
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def pictures(n: int, shape: tuple[int, int, int], kinds: int) -> tuple[np.ndarray, np.ndarray]:
    images, labels = helpers.pictures(n, shape, kinds)
    return images.numpy(), labels.numpy()


def fetched(url: str, file: str) -> None:
    """What torchvision's function of this kind does, from a file in place of the network."""
    with urlopen(url) as source, Path(file).open("wb") as target:
        shutil.copyfileobj(source, target)


def told(monkeypatch, name: str, split: str | None = None) -> None:
    """Our table has the small number of images; no set that was read before is remembered."""
    monkeypatch.setattr(torchvision.datasets.utils, "_urlretrieve", fetched)
    one = torchvision_table.SETS[name]
    chosen = split or next(iter(one.parts))
    part = one.parts[chosen]._replace(train_size=TRAINING * len(one.parts[chosen].training), test_size=TEST)
    monkeypatch.setitem(torchvision_table.SETS, name, one._replace(parts=one.parts | {chosen: part}))
    torchvision_files.load_once.cache_clear()


def tar(file: Path, contents: dict[str, bytes]) -> None:
    with tarfile.open(file, "w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def cifar(monkeypatch, folder: Path, name: str = "CIFAR10") -> Made:
    """An archive of five files of training images, one of test images and one of names, and where it comes from."""
    kind, n_labels = getattr(torchvision.datasets, name), int(name.removeprefix("CIFAR"))
    (training, labels), (test, test_labels) = (pictures(n, (3, 32, 32), n_labels) for n in (TRAINING, TEST))
    key = "labels" if name == "CIFAR10" else "fine_labels"

    def batch(images, kinds):
        return pickle.dumps({"data": images.reshape(len(images), -1), key: kinds.tolist()})

    parts = np.array_split(np.arange(TRAINING), len(kind.train_list))
    contents = {
        file: batch(training[part], labels[part]) for (file, _), part in zip(kind.train_list, parts, strict=True)
    }
    contents[kind.test_list[0][0]] = batch(test, test_labels)
    contents[kind.meta["filename"]] = pickle.dumps({kind.meta["key"]: [str(label) for label in range(n_labels)]})
    archive = folder / kind.filename
    tar(archive, {f"{kind.base_folder}/{file}": content for file, content in contents.items()})
    monkeypatch.setattr(kind, "train_list", [(file, md5_of(contents[file])) for file, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [(file, md5_of(contents[file])) for file, _ in kind.test_list])
    monkeypatch.setattr(kind, "meta", kind.meta | {"md5": md5_of(contents[kind.meta["filename"]])})
    monkeypatch.setattr(kind, "tgz_md5", md5_of(archive))
    monkeypatch.setattr(kind, "url", archive.as_uri())
    told(monkeypatch, name)
    return Made(archive, training, test, labels, test_labels)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">4B{array.ndim}I", 0, 0, kind, array.ndim, *array.shape) + array.tobytes()


def emnist(monkeypatch, folder: Path, split: str = "balanced", first_label: int = 0) -> Made:
    kind = torchvision.datasets.EMNIST
    n_labels = len(torchvision_table.SETS["EMNIST"].parts[split].labels)
    archive = folder / "gzip.zip"
    sets = {part: pictures(n, (1, 28, 28), n_labels) for part, n in (("train", TRAINING), ("test", TEST))}
    with zipfile.ZipFile(archive, "w") as file:
        for part, (images, labels) in sets.items():
            prefix = f"gzip/emnist-{split}-{part}"
            turned = np.ascontiguousarray(images[:, 0].transpose(0, 2, 1))  # as the published files are
            file.writestr(f"{prefix}-images-idx3-ubyte.gz", gzip.compress(idx(turned)))
            file.writestr(f"{prefix}-labels-idx1-ubyte.gz", gzip.compress(idx((labels + first_label).astype(np.uint8))))
    monkeypatch.setattr(kind, "url", archive.as_uri())
    monkeypatch.setattr(kind, "md5", md5_of(archive))
    told(monkeypatch, "EMNIST", split)
    return Made(archive, sets["train"][0], sets["test"][0], sets["train"][1], sets["test"][1])


def qmnist(monkeypatch, folder: Path) -> Made:
    kind, resources = torchvision.datasets.QMNIST, {}
    sets = {part: pictures(n, (1, 28, 28), 10) for part, n in (("train", TRAINING), ("test", TEST))}
    for part, (images, labels) in sets.items():
        files = {
            f"qmnist-{part}-images-idx3-ubyte.gz": idx(images[:, 0]),
            f"qmnist-{part}-labels-idx2-int.gz": idx(np.stack([labels, *[labels + 7] * 7], 1).astype(">i4"), 12),
        }
        for name, content in files.items():
            (folder / name).write_bytes(gzip.compress(content))
        resources[part] = [((folder / name).as_uri(), md5_of(folder / name)) for name in files]
    monkeypatch.setattr(kind, "resources", resources)
    told(monkeypatch, "QMNIST")
    return Made(folder / next(iter(files)), sets["train"][0], sets["test"][0], sets["train"][1], sets["test"][1])


def svhn(monkeypatch, folder: Path, split: str = "train") -> Made:
    kind, lists, sets = torchvision.datasets.SVHN, {}, {}
    for part, n in (("train", TRAINING), ("test", TEST), ("extra", TRAINING)):
        images, labels = sets[part] = pictures(n, (3, 32, 32), 10)
        name = f"{part}_32x32.mat"
        content = {"X": images.transpose(2, 3, 1, 0), "y": np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)}
        scipy.io.savemat(folder / name, content)
        lists[part] = [(folder / name).as_uri(), name, md5_of(folder / name)]
    monkeypatch.setattr(kind, "split_list", lists)
    told(monkeypatch, "SVHN", split)
    training, labels = (np.concatenate([sets[part][i] for part in split.split("+")]) for i in (0, 1))
    return Made(folder / "train_32x32.mat", training, sets["test"][0], labels, sets["test"][1])


def usps(monkeypatch, folder: Path) -> Made:
    kind, lists, sets = torchvision.datasets.USPS, {}, {}
    for part, n, name in (("train", TRAINING, "usps.bz2"), ("test", TEST, "usps.t.bz2")):
        images, labels = sets[part] = pictures(n, (1, 16, 16), 10)
        levels = (images.reshape(n, -1) + 0.5) / 255 * 2 - 1  # torchvision rounds down
        lines = [
            " ".join([str(label + 1), *(f"{i + 1}:{level:.5f}" for i, level in enumerate(row))])
            for label, row in zip(labels, levels, strict=True)
        ]
        (folder / name).write_bytes(bz2.compress("\n".join(lines).encode()))
        lists[part] = [(folder / name).as_uri(), name, md5_of(folder / name)]
    monkeypatch.setattr(kind, "split_list", lists)
    told(monkeypatch, "USPS")
    return Made(folder / "usps.bz2", sets["train"][0], sets["test"][0], sets["train"][1], sets["test"][1])


def stl10(monkeypatch, folder: Path, split: str = "train") -> Made:
    kind = torchvision.datasets.STL10
    sets = {name: pictures(n, (3, 96, 96), 10) for name, n in (("train", TRAINING), ("test", TEST))}
    sets["unlabeled"] = pictures(TRAINING, (3, 96, 96), 10)
    contents = {}
    for name, (images, labels) in sets.items():
        contents[f"{name}_X.bin"] = np.ascontiguousarray(images.transpose(0, 1, 3, 2)).tobytes()
        contents[f"{name}_y.bin"] = (labels + 1).astype(np.uint8).tobytes()
    archive = folder / kind.filename
    tar(archive, {f"{kind.base_folder}/{file}": content for file, content in contents.items()})
    monkeypatch.setattr(kind, "train_list", [(file, md5_of(contents[file])) for file, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [(file, md5_of(contents[file])) for file, _ in kind.test_list])
    monkeypatch.setattr(kind, "tgz_md5", md5_of(archive))
    monkeypatch.setattr(kind, "url", archive.as_uri())
    told(monkeypatch, "STL10", split)
    training, labels = sets[split]
    return Made(archive, training, sets["test"][0], labels, sets["test"][1])


def omniglot(monkeypatch, folder: Path) -> Made:
    kind, md5, sets = torchvision.datasets.Omniglot, {}, {}
    for name, n in (("images_background", TRAINING), ("images_evaluation", TEST)):
        images, labels = sets[name] = pictures(n, (1, 105, 105), 4)
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as archive:
            for i, image in enumerate(images):
                content = io.BytesIO()
                Image.fromarray(image[0]).save(content, "png")
                archive.writestr(f"{name}/Latin/character{labels[i]:02}/{i:04}.png", content.getvalue())
        md5[name] = md5_of(folder / f"{name}.zip")
    monkeypatch.setattr(kind, "zips_md5", md5)
    monkeypatch.setattr(kind, "download_url_prefix", folder.as_uri())
    told(monkeypatch, "Omniglot")
    return Made(folder / "images_background.zip", *(sets[name][0] for name in sets), *(sets[name][1] for name in sets))
