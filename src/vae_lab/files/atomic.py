"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vae_lab.errors import DiskError, reason_of


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file beside the target, to write to; once the disk has all of it, it takes the target's place.

    No reader sees half a file, and what was there before stays whole until then.

    Args:
        target: the file to replace, or to write for the first time.

    Raises:
        DiskError: if the disk is full, or the folder is gone or must not be written to.
    """
    partial = target.with_name(target.name + ".part")
    try:
        partial.unlink(missing_ok=True)
        with partial.open("xb") as file:  # never through a link that somebody put there
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(target)
    except (OSError, RuntimeError) as error:
        # torch's writer turns the system's error into a RuntimeError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else reason_of(error)
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise DiskError(f"{target}: could not be written ({reason})") from error


def replace_file(target: Path, text: str) -> None:
    """Write a text in the target's place.

    Args:
        target: the file to replace, or to write for the first time.
        text: its new content.

    Raises:
        DiskError: if the disk is full, or the folder is gone or must not be written to.
    """
    with replacing(target) as file:
        file.write(text.encode())
