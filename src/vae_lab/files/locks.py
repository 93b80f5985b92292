"""Locks between processes: the one place that takes them."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from vae_lab.errors import DiskError

# what a file system without locks answers: NFS without its lock service, Lustre and FUSE mounted without them
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


class TakenError(Exception):
    """Another process holds the lock."""


def take(file: Path, remedy: str, wait: bool = True) -> BaseFileLock:
    """Take the lock of a file, until it is released or the process ends.

    Args:
        file: the lock's file, which is created where it is missing.
        remedy: what the user can do where the file system has no locks.
        wait: wait while another process holds it.

    Raises:
        TakenError: if another process holds it, and this one does not wait.
        DiskError: if the file system has no locks.
    """
    was_there, lock = file.exists(), FileLock(file)
    try:
        lock.acquire(blocking=wait)
    except Timeout as error:
        raise TakenError(str(file)) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise
        if not was_there:
            file.unlink(missing_ok=True)
        reason = (isinstance(error, OSError) and error.strerror) or "not implemented"
        raise DiskError(f"{file.parent}: its file system has no locks ({reason}); {remedy}") from error
    return lock


@contextmanager
def locked(file: Path, remedy: str) -> Iterator[None]:
    """Hold the lock of a file inside the block, and wait for it before.

    Args:
        file: the lock's file, which is created where it is missing.
        remedy: what the user can do where the file system has no locks.

    Raises:
        DiskError: if the file system has no locks.
    """
    lock = take(file, remedy)
    try:
        yield
    finally:
        lock.release()
