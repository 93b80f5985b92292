"""What tests of harmful run folders share: forging a folder, and how everything refuses it."""

import resource
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

import vae_lab
from helpers import Answer, call
from vae_lab.errors import RunFolderError
from vae_lab.runs.folder import RunFolder

EVALUATE = ("task=evaluate", "run_dir=run", "trainer.accelerator=cpu", "evaluation.k=3", "evaluation.samples=none")
SECRET = "a-token-of-mine"


def everything(folder: Path) -> dict[str, bytes | None]:
    """Every file of a folder, with its content; the log of the refused run may have been opened."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name != "run.log" and not path.is_fifo()
    }


def forge(run: Path, change: Callable[[dict], None]) -> None:
    """Edit the config, and make the checkpoint say that it was always so."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    change(config)
    write(run, yaml.safe_dump(config))


def write(run: Path, text: str) -> None:
    (run / "config.yaml").write_text(text)
    folder = RunFolder(run)
    checkpoint = torch.load(folder.best, weights_only=True)
    checkpoint["config_sha256"] = folder.config_digest()
    torch.save(checkpoint, folder.best)


def both_ways(home: Path) -> Answer:
    """What the command line answers, after Python was refused too; nothing may have changed."""
    before = everything(home)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(RunFolderError) as raised:
        vae_lab.load("run")
    answer = call(*EVALUATE)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("vae_lab: run")
    assert line.isprintable()
    assert SECRET not in line + str(raised.value)
    assert everything(home) == before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < memory + 500_000, "it took memory"
    return answer
