"""Files of tensors as data: read only if they are undamaged and hold nothing but tensors and plain values."""

import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from vae_lab.errors import RunFolderError, reason_of, unusable

# What the pickle in one of our files may name. torch's own list for weights_only=True is longer, and contains
# builtins.bytearray, with which a file of a few bytes takes any amount of memory.
_NAMES = re.compile(r"torch \w+Storage|torch\._utils _rebuild_tensor_v2|collections OrderedDict")


def read(file: Path, kind: str) -> dict[str, Any]:
    """The content of a file that ``torch.save`` wrote, on the CPU.

    torch does not compare the checksums that it writes, so that a flipped bit of a weight would go unnoticed.

    Args:
        file: file to read.
        kind: what the file should hold, for messages: ``checkpoint``, ``classifier``.

    Raises:
        RunFolderError: if it is not a plain file, is damaged, or holds what no such file of vae_lab does.
    """
    if not file.is_file():
        raise RunFolderError(f"{file}: is not a plain file")
    try:
        with file.open("rb") as content:
            strange = _strange_names(content)
            if not strange:
                content.seek(0)
                found = torch.load(content, map_location="cpu", weights_only=True)
    except PermissionError as error:
        raise RunFolderError(unusable(error)) from error
    except Exception as error:
        # a damaged file breaks in the archive, the unpickler or the tensors, each with its own exception
        raise RunFolderError(f"{file}: damaged ({reason_of(error)})") from error
    if strange:
        raise RunFolderError(f"{file}: not a {kind} of vae_lab, its pickle names {', '.join(strange)}")
    if not isinstance(found, dict):
        raise RunFolderError(f"{file}: not a {kind} of vae_lab, it is not a dictionary")
    return found


def _strange_names(content: IO[bytes]) -> list[str]:
    """What the pickles in the archive name besides tensors and plain values.

    Raises:
        ValueError, zipfile.BadZipFile: if the archive is damaged, or holds more than stored records.
    """
    names: set[str] = set()
    with zipfile.ZipFile(content) as archive:
        records = archive.infolist()
        # torch finds records whatever the case of their names, and the first of two
        if len({record.filename.casefold() for record in records}) < len(records):
            raise ValueError("two records of one name")
        size = content.seek(0, 2)
        if any(r.compress_type for r in records) or sum(r.file_size for r in records) > size:
            raise ValueError("its records claim more than the file holds")
        broken = archive.testzip()
        if broken:
            raise ValueError(f"the checksum of {broken} is wrong")
        for record in records:
            if record.filename.casefold().endswith(".pkl"):
                names |= {
                    f"{argument}" if operation.name == "GLOBAL" else operation.name
                    for operation, argument, _ in pickletools.genops(archive.read(record))
                    if operation.name in ("GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4")
                }
    return sorted(name.replace(" ", ".") for name in names if not _NAMES.fullmatch(name))
