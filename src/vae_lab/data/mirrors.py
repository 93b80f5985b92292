"""Files from the mirrors that torchvision knows, each kept only where its checksum is the expected one."""

import hashlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from urllib.request import urlopen

from tqdm import tqdm

from vae_lab.errors import DataError


def checksums(dataset: str) -> dict[str, str]:
    """MD5 of each packed file by its name; dataset is the class's name in torchvision.datasets."""
    return dict(_torchvision(dataset).resources)  # type: ignore[attr-defined]


def download(dataset: str, names: Iterable[str], folder: Path, temporary: Path) -> None:
    """Put files into a folder, each from the first mirror that gives it whole.

    Args:
        dataset: the class's name in torchvision.datasets.
        names: names of the packed files that are wanted.
        folder: where they are put.
        temporary: folder on the same disk, for files that are not whole yet.

    Raises:
        DataError: if no mirror has one of them.
    """
    mirrors: list[str] = _torchvision(dataset).mirrors  # type: ignore[attr-defined]
    for name in names:
        for mirror in mirrors:
            try:
                _download(f"{mirror}{name}", temporary / name, checksums(dataset)[name])
                break
            except (OSError, DataError) as error:
                reason = f"{mirror}: {getattr(error, 'reason', error)}"
        else:
            raise DataError(reason)
        (temporary / name).replace(folder / name)


def _torchvision(dataset: str) -> type:
    import torchvision.datasets  # late: it takes a second to import, and cached MNIST does not need it

    found: type = getattr(torchvision.datasets, dataset)
    return found


def _download(url: str, target: Path, md5: str) -> None:
    """Fetch one file, with a bar on a terminal."""
    with urlopen(url, timeout=20) as response, target.open("wb") as file:
        length = int(response.headers.get("Content-Length", 0)) or None
        with tqdm.wrapattr(response, "read", total=length, desc=target.name, disable=None) as body:
            shutil.copyfileobj(body, file)
    if hashlib.md5(target.read_bytes(), usedforsecurity=False).hexdigest() != md5:
        raise DataError("the file that came has a wrong checksum")
