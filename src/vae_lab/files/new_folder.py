"""A folder that is complete or not there."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vae_lab.errors import DiskError, UserError, unusable
from vae_lab.paths import expanded


@contextmanager
def new_folder(target: Path | str) -> Iterator[Path]:
    """A folder beside the target, to write to; at the end of the block it becomes the target.

    Args:
        target: folder that is not there yet, or is empty.

    Raises:
        UserError: if the target holds something, or is no folder.
        DiskError: if it cannot be written.
    """
    place = Path(expanded(target))
    if place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise UserError(f"{target}: is there already; name a new folder")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        try:
            (beside / "new").mkdir()  # with the rights that the user's folders usually have
            yield beside / "new"
            (beside / "new").rename(place)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise DiskError(unusable(error)) from error
