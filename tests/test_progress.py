"""What a long evaluation tells while it works."""

import logging
import re
import sys

import pytest
import torch

from helpers import small_vae
from vae_lab.evaluation import progress
from vae_lab.evaluation.annealed import annealed
from vae_lab.evaluation.bounds import bounds_of_set
from vae_lab.evaluation.gaps import gaps


@pytest.fixture
def clock(monkeypatch):
    """A clock that each look moves by 30 seconds."""
    times = iter(range(0, 10**6, 30))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(times))


@pytest.mark.usefixtures("clock")
def test_a_line_a_minute_says_what_is_done_and_how_long_it_takes(caplog):
    caplog.set_level(logging.INFO, "vae_lab")
    with progress.progress(4, "k = 10") as lines:
        for _ in range(4):
            lines.update(1)
    assert caplog.messages == ["k = 10  50 %  60 s left"]


def test_a_terminal_gets_a_bar(monkeypatch, caplog, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    caplog.set_level(logging.INFO, "vae_lab")
    with progress.progress(4, "k = 10") as bar:
        bar.update(2)
        bar.refresh()
    assert re.search(r"k = 10:  50%", capsys.readouterr().err)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (lambda model, x: bounds_of_set(model, [(x, x)] * 3, 5), {"k = 5"}),
        (lambda model, x: annealed(model, x, 6, 2), {"annealing, 2 chains"}),
        (lambda model, x: gaps(model, x, 6, 2, search_steps=3), {"annealing, 2 chains", "best q of each image"}),
    ],
)
@pytest.mark.usefixtures("clock")
def test_long_works_are_told_to_their_ends(work, told, caplog):
    caplog.set_level(logging.INFO, "vae_lab")
    work(small_vae(latent_dim=2).eval(), torch.rand(4, 1, 28, 28).round())
    assert {message.split("  ")[0] for message in caplog.messages} == told
    shares = [int(re.search(r"(\d+) %", message)[1]) for message in caplog.messages]
    assert 50 < max(shares) < 100
