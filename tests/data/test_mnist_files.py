"""The files are verified and fetched once, and no file of a person is ever written over."""

import gzip
import hashlib
import shutil
import struct
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import torchvision.datasets

from vae_lab.data import mnist_files as files
from vae_lab.errors import DataError

SHAPES = [(40, 28, 28), (40,), (10, 28, 28), (10,)]


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror of a little Fashion-MNIST on this machine; gives its folder and the paths that were asked for."""
    folder, asked, resources = tmp_path / "mirror", [], []
    folder.mkdir()
    random = np.random.default_rng(0)
    for name, shape in zip(files.FILES, SHAPES, strict=True):
        array = random.integers(0, 10, shape, dtype=np.uint8)
        header = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *shape)
        packed = gzip.compress(header + array.tobytes())
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(Path(self.path).name)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [f"{address}/gone/", f"{address}/"])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    yield folder, asked
    server.shutdown()
    server.server_close()


def raw(root: Path, name: str = "FashionMNIST") -> Path:
    return root / name / "raw"


def test_mirrors_are_tried_in_turn_and_the_files_are_kept(mirror, tmp_path):
    _, asked = mirror
    root = str(tmp_path / "data")
    (train, train_labels), (test, test_labels) = files.load("fashion_mnist", root)
    assert train.shape == (40, 1, 28, 28)
    assert test.shape == (10, 1, 28, 28)
    assert train.dtype == torch.uint8
    assert train_labels.shape == (40,)
    assert test_labels.dtype == torch.int64
    assert len(asked) == 6  # two lines for the mirror without files, and one for each file of the other
    again = files.load("fashion_mnist", root)
    assert len(asked) == 6
    assert torch.equal(again[0][0], train)


DAMAGE = {
    "cut off": lambda packed: packed[: len(packed) // 2],
    "a changed last byte": lambda packed: packed[:-1] + b"x",
    "empty": lambda _: b"",
    "a page": lambda _: b"<html>",
    "other content": lambda packed: gzip.compress(gzip.decompress(packed)[:-1] + b"\7"),
    "unpacked": lambda packed: gzip.decompress(packed)[:-1] + b"\7",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("is_link", [False, True])
def test_a_file_that_is_not_the_sets_is_refused_and_stays(mirror, tmp_path, damage, is_link):
    root = tmp_path / "data"
    files.load("fashion_mnist", str(root))
    _, asked = mirror
    asked.clear()
    file = raw(root) / f"{files.FILES[2]}.gz"
    content = damage(file.read_bytes())
    if is_link:
        file.unlink()
        (tmp_path / "mine").write_bytes(content)
        file.symlink_to(tmp_path / "mine")
    file.write_bytes(content)
    before = {path: path.read_bytes() for path in raw(root).iterdir()}
    with pytest.raises(DataError) as raised:
        files.load("fashion_mnist", str(root))
    assert str(raised.value).startswith(f"{file}: ")
    assert "move it away, and FashionMNIST's is fetched" in str(raised.value)
    assert {path: path.read_bytes() for path in raw(root).iterdir()} == before
    assert file.is_symlink() == is_link
    assert not asked
    file.unlink()  # as the line says
    files.load("fashion_mnist", str(root))
    assert set(asked) == {file.name}


@pytest.mark.usefixtures("mirror")
def test_own_labels_are_refused_even_beside_the_good_archive(tmp_path):
    root = tmp_path / "data"
    files.load("fashion_mnist", str(root))
    packed = raw(root) / f"{files.FILES[1]}.gz"
    unpacked = packed.with_suffix("")
    unpacked.write_bytes(gzip.decompress(packed.read_bytes()))
    files.load("fashion_mnist", str(root))
    content = unpacked.read_bytes()[:-1] + b"\7"
    unpacked.write_bytes(content)
    with pytest.raises(DataError, match=r"checksum is another; if it is yours, data\.checksums=own"):
        files.load("fashion_mnist", str(root))
    assert unpacked.read_bytes() == content


def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path):
    link = raw(tmp_path, "MNIST") / files.FILES[0]
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match="a link that leads nowhere"):
        files.load("mnist", str(tmp_path))
    assert link.readlink() == tmp_path / "gone"


def test_a_mirror_that_sends_something_else_is_not_believed(mirror, tmp_path):
    folder, _ = mirror
    (folder / f"{files.FILES[0]}.gz").write_bytes(gzip.compress(b"a login page"))
    with pytest.raises(DataError, match="wrong checksum"):
        files.load("fashion_mnist", str(tmp_path / "data"))
    assert [p.name for p in raw(tmp_path / "data").iterdir()] == [".lock"]


def test_without_any_source_the_line_names_the_files_and_the_folder(mirror, tmp_path):
    shutil.rmtree(mirror[0])
    with pytest.raises(DataError) as raised:
        files.load("fashion_mnist", str(tmp_path / "data"))
    line = str(raised.value)
    assert "\n" not in line
    assert str(raw(tmp_path / "data")) in line
    for name in files.FILES:
        assert f"{name}.gz" in line


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data\.root"):
        files.load("mnist", str(tmp_path / "file"))


def test_real_mnist_is_mnist(mnist_root):
    (train, train_labels), (test, test_labels) = files.load("mnist", mnist_root)
    assert train.shape == (60_000, 1, 28, 28)
    assert test.shape == (10_000, 1, 28, 28)
    assert train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert train_labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert train.max() == 255
