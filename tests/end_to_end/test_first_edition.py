"""Run folders that were written before the package was divided into folders: see fixtures/README.md."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import vae_lab
from helpers import call

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"
# the cut-off run's figures where nobody disturbed it, from the commit that wrote both
UNDISTURBED = {"test/nelbo": 177.4172821044922, "best/val/nelbo": 176.97501262029013}


@pytest.fixture
def runs(tmp_path, monkeypatch, small_files) -> Path:  # noqa: ARG001
    """A folder with copies of both runs, on the images that they were trained on."""
    for name in ("first_edition_run", "first_edition_cut_off"):
        shutil.copytree(FIXTURES / name, tmp_path / "runs" / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs"


def metrics_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def test_a_finished_one_loads(runs):
    model = vae_lab.load(runs / "first_edition_run")
    assert model.sample(3).shape == (3, 1, 28, 28)
    assert len(model.history) == 2


def test_a_finished_one_is_evaluated_to_the_same_figures(runs):
    run = runs / "first_edition_run"
    before = metrics_of(run)
    (run / "metrics.json").unlink()
    answer = call("task=evaluate", f"run_dir={run}", "evaluation.k=2", "evaluation.samples=none")
    assert answer.code == 0, answer.err
    after = metrics_of(run)
    for name in ("test/nelbo", "test/kl", "test/reconstruction"):
        assert after[name] == pytest.approx(before[name], rel=1e-6)
    assert after["test/nll_iwae_2"] > 0


def test_both_are_reported(runs):
    answer = call("task=report", f"sweep_dir={runs}")
    assert answer.code == 0, answer.err
    with (runs / "sweep.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert float(rows["first_edition_run"]["test/nelbo"]) == metrics_of(runs / "first_edition_run")["test/nelbo"]
    assert rows["first_edition_cut_off"]["status"] != rows["first_edition_run"]["status"]
    assert (runs / "report.html").exists()


def test_a_cut_off_one_goes_on_and_ends_as_if_undisturbed(runs):
    answer = call(f"resume={runs / 'first_edition_cut_off'}")
    assert answer.code == 0, answer.err
    assert "last.ckpt" in answer.out
    after = metrics_of(runs / "first_edition_cut_off")
    # a last digit of a convolution differs between machines; a lost state of any kind changes far more
    assert {name: after[name] for name in UNDISTURBED} == pytest.approx(UNDISTURBED, rel=1e-5)
