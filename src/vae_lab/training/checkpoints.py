"""Checkpoints as data: written whole or not at all, read only when whole, made of tensors and plain values."""

import pickletools
import re
import zipfile
from pathlib import Path
from typing import IO, Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from vae_lab.errors import RunFolderError, reason_of
from vae_lab.files.atomic import replacing

# What the pickle inside one of our checkpoints names. torch's own list for weights_only=True is longer, and has
# builtins.bytearray on it, with which a file of a few bytes takes any amount of memory.
_NAMES = re.compile(r"torch \w+Storage|torch\._utils _rebuild_tensor_v2|collections OrderedDict")


class CheckpointFiles(TorchCheckpointIO):
    """Writes a checkpoint in the place of the one before, which stays whole until then."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save one checkpoint.

        Raises:
            DiskError: if the disk is full, or the folder is gone or must not be written to.
        """
        assert storage_options is None
        file = Path(path)
        if file.parent.parent.is_dir():  # without the run folder there is no run
            file.parent.mkdir(exist_ok=True)
        with replacing(file) as content:
            torch.save(checkpoint, content)


def to_start_of_epoch(loop: dict[str, Any]) -> None:
    """Let Lightning's account of its loops say that the next epoch, or the one under way, is still to start.

    It knows many places at which an epoch may have been left, and counts calls of training_step where we count
    batches. The model itself knows how many batches were taken, and passes by them.

    Args:
        loop: state of the trainer's ``fit_loop``, in a checkpoint.
    """
    done = loop["epoch_progress"]["current"]["processed"]
    for span in ("current", "total"):
        for name in loop["epoch_progress"][span]:
            loop["epoch_progress"][span][name] = done
    for name in ("epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"):
        for span in ("current", "total"):
            loop[name][span] = dict.fromkeys(loop[name][span], 0)
        loop[name]["is_last_batch"] = False


def read(file: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU.

    torch does not look at the checksums that it writes, so that a flipped bit of a weight would go unnoticed.

    Raises:
        RunFolderError: if there is no such file, it is damaged, or it holds what no checkpoint of ours does.
    """
    if not file.is_file():
        raise RunFolderError(f"{file}: there is no checkpoint; the run did not finish its first epoch")
    try:
        with file.open("rb") as content:
            strange = _strange_names(content)
            if not strange:
                content.seek(0)
                found = torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:
        # a damaged file breaks in the archive, the unpickler or the tensors, each with its own exception
        raise RunFolderError(f"{file}: damaged ({reason_of(error)})") from error
    if strange:
        raise RunFolderError(f"{file}: not a checkpoint of vae_lab, its pickle names {', '.join(strange)}")
    if not isinstance(found, dict):
        raise RunFolderError(f"{file}: not a checkpoint of vae_lab, it holds no names")
    return found


def _strange_names(content: IO[bytes]) -> list[str]:
    """What the archive's pickles name beside tensors and plain values.

    Raises:
        ValueError, zipfile.BadZipFile: if the archive is damaged, or is more than stored records.
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
