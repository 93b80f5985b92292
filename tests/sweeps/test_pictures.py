"""Pictures of samples in the report: without their titles, and only where they are pictures."""

import os
from io import BytesIO

import pytest
from matplotlib import image

from sweep_reports import samples
from vae_lab.sweeps import pictures


def test_samples_are_shown_without_their_titles_and_at_one_size(tmp_path):
    for title in (True, False):
        samples(tmp_path / "figures" / f"{title}.png", title)
    titled, bare = (pictures.grid_of(tmp_path / "figures" / f"{title}.png") for title in (True, False))
    assert titled == bare
    assert image.imread(BytesIO(titled)).shape[:2] == (70, 190)


def bomb(file):
    """A small file that says that it holds a picture of 10¹⁰ pixels."""
    samples(file)
    content = file.read_bytes()
    file.write_bytes(content[:16] + (100_000).to_bytes(4, "big") * 2 + content[24:])


@pytest.mark.parametrize("kind", ["text", "cut off", "folder", "svg", "pixels", "pipe", "missing"])
def test_what_is_no_picture_is_left_out(tmp_path, kind):
    file = tmp_path / "figures" / "samples.png"
    file.parent.mkdir()
    make = {
        "text": lambda: file.write_text("<script>alert(1)</script>"),
        "cut off": lambda: (samples(file), file.write_bytes(file.read_bytes()[:60])),
        "folder": file.mkdir,
        "svg": lambda: file.write_text('<svg xmlns="http://www.w3.org/2000/svg"/>'),
        "pixels": lambda: bomb(file),
        "pipe": lambda: os.mkfifo(file),
        "missing": lambda: None,
    }
    make[kind]()
    assert pictures.grid_of(file) is None
