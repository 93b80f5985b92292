"""Files from the mirrors that torchvision knows, each kept only if its checksum is right."""

import hashlib
import logging
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError
from urllib.request import urlopen

from tqdm import tqdm

from vae_lab.data.idx import GZIP
from vae_lab.errors import DataError, reason_of
from vae_lab.files.atomic import put_new

log = logging.getLogger(__name__)

SECONDS = 300.0  # that a source may take in all
PATIENCE = 30.0  # seconds that a mirror may take for its first bytes
PACE = 20_000  # bytes a second that it must send beyond that
SILENCE = 20.0  # seconds between two bytes
LARGEST = 2**27  # bytes of a file; no packed one has a quarter of it


def checksums(dataset: str) -> dict[str, str]:
    """MD5 of each packed file by its name; dataset is the class's name in torchvision.datasets."""
    return dict(_torchvision(dataset).resources)  # type: ignore[attr-defined]


def download(dataset: str, names: Iterable[str], folder: Path, temporary: Path) -> None:
    """Put files into a folder, from one mirror after the other until all are there.

    Args:
        dataset: the class's name in torchvision.datasets.
        names: names of the packed files to fetch.
        folder: folder to put them into; a file that is there already stays.
        temporary: folder on the same disk, for files that are not complete yet.

    Raises:
        DataError: if no mirror has one of them.
    """
    mirrors: list[str] = _torchvision(dataset).mirrors  # type: ignore[attr-defined]
    missing, reasons = list(names), []
    for mirror in mirrors:
        source = _Mirror()
        # its own folder: a mirror that was given up may still write what it was just sending
        own = Path(tempfile.mkdtemp(dir=temporary))
        try:
            while missing:
                name = missing[0]
                source.fetch(f"{mirror}{name}", own / name, checksums(dataset)[name])
                put_new(own / name, folder / name)
                missing.pop(0)
            return
        except (OSError, DataError) as error:
            reasons.append(f"{mirror}: {reason_of(error)}")
            log.info("%s", reasons[-1])
    raise DataError("; ".join(reasons))


def _torchvision(dataset: str) -> type:
    import torchvision.datasets  # late: it takes a second to import, and cached MNIST does not need it

    found: type = getattr(torchvision.datasets, dataset)
    return found


class _Mirror:
    """One mirror, and the time that it has taken so far."""

    def __init__(self) -> None:
        self.started, self.received, self.given_up = time.monotonic(), 0, False

    def fetch(self, url: str, target: Path, md5: str) -> None:
        """Fetch one file, with a bar on a terminal.

        Args:
            url: address of the file.
            target: file to write.
            md5: checksum that it must have.

        Raises:
            DataError: if it does not come, in time and as it should be.
        """
        errors: list[Exception] = []
        # a thread: a mirror that sends a byte now and then keeps a read waiting for ever, and no timeout ends it
        transfer = Thread(target=self._transfer, args=(url, target, errors), daemon=True)
        transfer.start()
        while transfer.is_alive():
            transfer.join(0.2)
            seconds = time.monotonic() - self.started
            if transfer.is_alive() and seconds > min(SECONDS, PATIENCE + self.received / PACE):
                self.given_up = True
                raise DataError(f"too slow, {self.received:,} bytes in {seconds:.0f} seconds")
        if errors:
            reason = str(getattr(errors[0], "reason", "")) or reason_of(errors[0])
            is_plain = isinstance(errors[0], OSError | DataError)
            raise DataError(reason if is_plain else f"a broken answer: {reason}") from errors[0]
        content = target.read_bytes()
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5:
            what = "a file with a wrong checksum" if content.startswith(GZIP) else "something else than the file"
            raise DataError(f"{what} came ({len(content):,} bytes)")

    def _transfer(self, url: str, target: Path, errors: list[Exception]) -> None:
        try:
            with urlopen(url, timeout=SILENCE) as response, target.open("wb") as file:
                length = int(response.headers.get("Content-Length") or 0)
                with tqdm(total=length or None, desc=target.name, disable=None, unit="B", unit_scale=True) as bar:
                    while not self.given_up and (part := response.read1(2**16)):
                        file.write(part)
                        self.received += len(part)
                        bar.update(len(part))
                        if file.tell() > LARGEST:
                            raise DataError(f"it does not end after {file.tell():,} bytes")
                if file.tell() < length:
                    raise DataError(f"it broke off after {file.tell():,} of {length:,} bytes")
        except Exception as error:  # of the network, in whatever form: each ends this mirror and no more
            if isinstance(error, HTTPError):
                error.close()  # it is the answer too, and keeps its connection
            errors.append(error)
