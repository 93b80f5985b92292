"""Checks of a file or folder from anywhere, before it is read or written to."""

import stat
from pathlib import Path

from vae_lab.errors import RunFolderError, unusable


def check_folder(folder: Path) -> None:
    """Check that a folder that will be written to holds plain files and folders only, at every depth.

    Through a link, something outside the folder could be overwritten, and opening a pipe would never end.

    Args:
        folder: folder to check.

    Raises:
        RunFolderError: names the entry.
    """
    for entry in folder.iterdir():
        if stat.S_ISDIR(entry.lstat().st_mode):
            check_folder(entry)
        else:
            check_file(entry)


def check_file(file: Path) -> None:
    """Check that an existing file that will be written to is a plain file.

    Args:
        file: file to check.

    Raises:
        RunFolderError: names it.
    """
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "not a plain file"
        remedy = "put what it leads to in its place" if stat.S_ISLNK(mode) else "remove it"
        raise RunFolderError(f"{file}: is {kind}; what is written must stay in the run folder, {remedy}")


def read_text(file: Path, at_most: int) -> str:
    """The text of a file of a run folder.

    Args:
        file: file to read.
        at_most: largest size of the file, in bytes.

    Raises:
        FileNotFoundError: if there is none.
        RunFolderError: if it is not a plain file of text, or is larger.
    """
    try:
        if not file.exists():
            raise FileNotFoundError(file)
        if not file.is_file():
            raise RunFolderError(f"{file}: is not a plain file")
        if file.stat().st_size > at_most:
            raise RunFolderError(f"{file}: is larger than the {at_most:,} bytes that such a file of vae_lab may have")
        return file.read_text(encoding="utf-8-sig")  # editors of Windows write a mark at the beginning
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunFolderError(unusable(error)) from error
    except UnicodeDecodeError as error:
        raise RunFolderError(f"{file}: cannot be read as text ({error}); put the original back") from error
