"""Files that are written completely or not at all."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vae_lab.errors import DiskError, reason_of


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A file beside the target, to write to; when the disk has all of it, it replaces the target.

    No reader sees half a file: until then the old file stays complete.

    Args:
        target: file to replace, or to write for the first time.

    Raises:
        DiskError: if the disk is full, or the folder is missing or not writable.
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
    """Replace the target by a text.

    Args:
        target: file to replace, or to write for the first time.
        text: new content of the file.

    Raises:
        DiskError: if the disk is full, or the folder is missing or not writable.
    """
    with replacing(target) as file:
        file.write(text.encode())


def put_new(source: Path, target: Path) -> None:
    """Move a file to a name that nothing has yet.

    Args:
        source: the file, on the same disk.
        target: its new name; what is there stays as it is.

    Raises:
        FileExistsError: if there is a file, a folder or a link of that name.
    """
    try:
        os.link(source, target, follow_symlinks=False)  # unlike a rename it never replaces a file
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)
    else:
        source.unlink()
