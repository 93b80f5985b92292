"""What a file or folder from anywhere must be before it is read or written to."""

import stat
from pathlib import Path

from vae_lab.errors import RunFolderError


def check_folder(folder: Path) -> None:
    """Check that a folder that will be written to holds plain files and folders only, at every depth.

    Through a link, something outside the folder could be overwritten, and a pipe would never answer.

    Args:
        folder: the folder.

    Raises:
        RunFolderError: names the entry.
    """
    for entry in folder.iterdir():
        if stat.S_ISDIR(entry.lstat().st_mode):
            check_folder(entry)
        else:
            check_file(entry)


def check_file(file: Path) -> None:
    """Check that what will be written to, and is there already, is a plain file.

    Args:
        file: the file.

    Raises:
        RunFolderError: names it.
    """
    mode = file.lstat().st_mode
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "no plain file"
        raise RunFolderError(f"{file}: is {kind}; a run folder holds files and folders only, take it out")


def read_text(file: Path, at_most: int) -> str:
    """The text of a file of a run folder.

    Args:
        file: the file.
        at_most: bytes that it may have.

    Raises:
        FileNotFoundError: if there is none.
        RunFolderError: if it is not a plain file of text, or is larger.
    """
    if not file.exists():
        raise FileNotFoundError(file)
    if not file.is_file():
        raise RunFolderError(f"{file}: is no plain file")
    if file.stat().st_size > at_most:
        raise RunFolderError(f"{file}: is larger than the {at_most:,} bytes that such a file of vae_lab may have")
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(f"{file}: cannot be read as text ({error}); put the original back") from error
