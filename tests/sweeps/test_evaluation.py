"""task=evaluate sweep_dir=…: every run of a sweep is evaluated, and the report has what was measured."""

import json
from pathlib import Path

import pytest

from helpers import TINY, call

EVALUATE = ("task=evaluate", "sweep_dir=sweep", "trainer.accelerator=cpu", "evaluation.k=3", "evaluation.samples=none")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)


def trained(*overrides):
    answer = call("-m", *TINY, "callbacks=none", "trainer.max_epochs=1", "sweep_dir=sweep", *overrides)
    assert answer.code == 0, answer.err


def runs():
    return {path.parent.name: json.loads(path.read_text()) for path in Path("sweep").glob("*/metrics.json")}


def test_every_run_is_evaluated_and_its_bounds_join_the_report():
    trained("latent_dim=2,3")
    before, multirun = runs(), Path("sweep/multirun.yaml").read_text()
    answer = call(*EVALUATE, "report.baseline=latent_dim=3")
    assert answer.code == 0, answer.err
    for name, metrics in runs().items():
        assert "test/nll_iwae_3" in metrics
        assert {key: metrics[key] for key in before[name]} == pytest.approx(before[name])
    for text in (Path("sweep/report.html").read_text(), Path("sweep/table.md").read_text().replace("\\", "")):
        assert "−log p(x), k = 3" in text
        assert "active units" in text
        assert "against baseline" in text
    assert "report: sweep/report.html" in answer.out
    # the sweep's own files stay, its runs too
    assert Path("sweep/multirun.yaml").read_text() == multirun
    assert sorted(path.name for path in Path("sweep").glob("*/")) == [
        *(".evaluation", ".locks", "latent_dim=2", "latent_dim=3"),
    ]
    assert not list(Path("sweep/.evaluation").glob("[!.]*/*"))


def test_a_run_that_cannot_be_evaluated_does_not_keep_the_others_from_it():
    trained("latent_dim=2,3")
    Path("sweep/latent_dim=2/checkpoints/best.ckpt").write_text("no checkpoint")
    answer = call(*EVALUATE)
    assert answer.code == 1
    assert "failed: sweep/latent_dim=2/checkpoints/best.ckpt" in answer.out
    assert "1 failed; to do them again: vae_lab" in answer.err
    assert "sweep_dir=sweep" in answer.err
    assert "run_dir" not in answer.err
    found = runs()
    assert "test/nll_iwae_3" in found["latent_dim=3"]
    assert "test/nll_iwae_3" not in found["latent_dim=2"]
    assert Path("sweep/latent_dim=2/config.yaml").is_file()
    assert "latent_dim=2" in Path("sweep/report.html").read_text()


def test_what_cannot_be_evaluated_is_one_line():
    for folder, reason in (("none", "there is no such folder"), (".", "holds no runs")):
        answer = call("task=evaluate", f"sweep_dir={folder}")
        assert (answer.code, answer.out) == (2, "")
        (line,) = answer.err.splitlines()
        assert f"sweep_dir={folder}: {reason}" in line
    failed = Path("sweep/latent_dim=2")
    failed.mkdir(parents=True)
    (failed / "failure.txt").write_text("not finite")
    assert "none of the runs in it has finished" in call("task=evaluate", "sweep_dir=sweep").err


def test_logs_that_would_lie_elsewhere_are_refused(make_run, tmp_path):
    make_run("latent_dim=2")
    (tmp_path / "mine").mkdir()
    (tmp_path / "sweep" / ".evaluation").symlink_to(tmp_path / "mine")
    answer = call(*EVALUATE)
    assert answer.code == 2
    assert "sweep/.evaluation: is not a folder" in answer.err
    assert not list((tmp_path / "mine").iterdir())
