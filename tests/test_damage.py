"""A damaged run folder gives one line that names the file, or the same result as the whole one: never another."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import vae_lab
from helpers import call
from vae_lab.data import mnist_files as files
from vae_lab.errors import DataError, RunFolderError, UserError
from vae_lab.runs.folder import RunFolder

EVALUATE = ("task=evaluate", "run_dir=run", "trainer.accelerator=cpu", "evaluation.k=3", "evaluation.samples=none")


def places(content: bytes, n: int) -> list[int]:
    """Evenly over a file, its first and last bytes included."""
    return [round(i * (len(content) - 1) / (n - 1)) for i in range(n)]


def refused(run: Path, file: Path) -> bool:
    """Whether loading the run ends in one line that names the file; else it must give what the whole run gives."""
    try:
        vae_lab.load(run)
    except UserError as error:
        line = str(error)
    else:
        return False
    assert str(file) in line
    assert "\n" not in line
    return True


def test_a_checkpoint_cut_at_twenty_places_is_refused(tiny_run):
    file = tiny_run / "checkpoints" / "best.ckpt"
    content = file.read_bytes()
    for place in places(content, 20):
        file.write_bytes(content[:place])
        assert refused(tiny_run, file), place


def test_a_flipped_bit_of_a_checkpoint_is_noticed_or_harmless(tiny_run):
    file = tiny_run / "checkpoints" / "best.ckpt"
    content = file.read_bytes()
    whole = vae_lab.load(tiny_run).state_dict()
    noticed = 0
    for bit, place in enumerate(places(content, 75)):
        flipped = bytearray(content)
        flipped[place] ^= 1 << bit % 8
        file.write_bytes(flipped)
        if refused(tiny_run, file):
            noticed += 1
        else:  # it lay in the space between two records
            torch.testing.assert_close(vae_lab.load(tiny_run).state_dict(), whole, rtol=0, atol=0)
    assert noticed > 50


def test_a_flipped_bit_of_a_weight_is_noticed(tiny_run):
    file = tiny_run / "checkpoints" / "best.ckpt"
    weights = vae_lab.load(tiny_run).encoder.net[0].weight.detach().numpy().tobytes()
    content = bytearray(file.read_bytes())
    content[content.index(weights) + 1000] ^= 1
    file.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"best\.ckpt: damaged \(the checksum of .* is wrong\)"):
        vae_lab.load(tiny_run)


def test_each_line_of_a_config_counts(tiny_run):
    file = tiny_run / "config.yaml"
    lines = file.read_text().splitlines(keepends=True)
    for i in range(len(lines)):
        file.write_text("".join(lines[:i] + lines[i + 1 :]))
        assert refused(tiny_run, file), lines[i]
    for i, line in enumerate(lines):
        if line[-2].isdigit():
            file.write_text("".join([*lines[:i], line[:-1] + "1\n", *lines[i + 1 :]]))
            assert refused(tiny_run, file), line


def test_a_config_cut_at_twenty_places_is_refused(tiny_run):
    file = tiny_run / "config.yaml"
    content = file.read_bytes()
    for place in places(content, 20):
        file.write_bytes(content[:place])
        assert refused(tiny_run, file), place
    file.write_bytes(content[:50] + b"\xff" + content[50:])
    assert refused(tiny_run, file)


def test_metrics_cut_at_twenty_places_are_refused(tiny_run):
    file = tiny_run / "metrics.json"
    content = file.read_bytes().strip()
    for place in places(content, 20):
        file.write_bytes(content[:place])
        with pytest.raises(RunFolderError, match=r"metrics\.json: damaged"):
            RunFolder(tiny_run).read_metrics()


@pytest.mark.parametrize("name", ["metrics.csv", "metrics.json"])
def test_a_history_cut_anywhere_is_refused(tiny_run, name):
    file = tiny_run / name
    content = file.read_bytes().strip()
    for place in places(content, 20)[1:]:
        file.write_bytes(content[:place])
        assert refused(tiny_run, file), place


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("metrics.json", "[]"),
        ("metrics.json", '{"test/nelbo": "low"}'),
        ("metrics.json", '{"test/nelbo": NaN}'),
        ("metrics.json", '{"train/seconds": 1.0}'),
        ("metrics.json", "[" * 100_000),
        ("metrics.json", f'{{"test/nelbo": {"9" * 400}}}'),
        ("metrics.csv", "epoch,nelbo\n0,low\n"),
        ("config.yaml", ""),
        ("config.yaml", "encoder: null\n"),
    ],
)
@pytest.mark.usefixtures("small_files")
def test_evaluating_what_is_no_run_changes_nothing(tiny_run, monkeypatch, name, text):
    monkeypatch.chdir(tiny_run.parent)
    (tiny_run / name).write_text(text)
    before = {path: path.read_bytes() for path in tiny_run.rglob("*") if path.is_file() and path.name != "run.log"}
    answer = call(*EVALUATE)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert f"run/{name}" in line
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.usefixtures("small_files")
def test_a_truncated_event_file_stops_nobody(tiny_run, monkeypatch):
    monkeypatch.chdir(tiny_run.parent)
    (events,) = tiny_run.glob("events.out*")
    content = events.read_bytes()
    before = json.loads((tiny_run / "metrics.json").read_text())["test/nelbo"]
    for place in places(content, 20)[1:]:
        events.write_bytes(content[:place])
        scalars = EventAccumulator(str(tiny_run)).Reload().Tags()["scalars"]
    assert "train/nelbo" in scalars
    assert call(*EVALUATE).code == 0
    assert json.loads((tiny_run / "metrics.json").read_text())["test/nelbo"] == before


@pytest.mark.parametrize("file", files.FILES[2:])
def test_altered_data_are_neither_read_nor_written_over(mnist_root, tmp_path, file):
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for name in files.FILES:
        (folder / name).symlink_to(Path(mnist_root) / "MNIST" / "raw" / name)
    (folder / file).unlink()
    content = (Path(mnist_root) / "MNIST" / "raw" / file).read_bytes()
    for place in places(content, 3):
        flipped = bytearray(content)
        flipped[place] ^= 1
        for damaged in (flipped, content[:place]):
            (folder / file).write_bytes(damaged)
            with pytest.raises(DataError, match=f"{file}: is "):
                files.load("mnist", str(tmp_path))
            assert (folder / file).read_bytes() == damaged
    shutil.copy(Path(mnist_root) / "MNIST" / "raw" / file, folder / file)
    files.load("mnist", str(tmp_path))
