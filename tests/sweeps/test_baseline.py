"""Every setting of a sweep against one that is named."""

import pytest

from helpers import call
from sweep_reports import Page
from vae_lab.sweeps import report


@pytest.mark.parametrize(
    ("baseline", "reason"),
    [
        ("optimizer.lr=1.0", "no finished setting has it; optimizer.lr is 0.001, 0.01"),  # its runs failed
        ("lr=0.001", "no finished run has the key lr, did you mean optimizer.lr?"),
        ("loss=kl", "2 settings have it; name one of them by adding optimizer.lr"),
        ("optimizer.lr=", "must be a setting as the report shows it"),
    ],
)
def test_a_baseline_that_is_not_in_the_sweep_is_refused_with_one_line(sweep, monkeypatch, baseline, reason):
    monkeypatch.chdir(sweep.parent)
    answer = call("task=report", "sweep_dir=sweep", f"report.baseline={baseline}")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith(f"vae_lab: report.baseline={baseline}: ")
    assert reason in line
    assert not list(sweep.glob("*.*ml"))


@pytest.mark.parametrize("baseline", ["optimizer.lr=1e-2", "optimizer.lr=0.01  loss=kl", "loss=kl,optimizer.lr=0.01"])
def test_all_settings_are_tested_against_the_baseline(sweep, monkeypatch, baseline):
    monkeypatch.chdir(sweep.parent)
    answer = call("task=report", "sweep_dir=sweep", f"report.baseline={baseline}")
    assert answer.code == 0, answer.err
    for text in (answer.out, Page((sweep / "report.html").read_text()).text):
        assert "−10.00 ± 0.82" in text
        assert "Against the baseline optimizer.lr=0.01, of 1 tested: 1 better, 0 worse, 0 that can be chance" in text


def test_a_baseline_with_one_seed_is_not_tested(make_run, tmp_path, capsys):
    for lr in ("0.001", "0.01"):
        make_run(f"optimizer.lr={lr}")
    report.write(tmp_path / "sweep", "optimizer.lr=0.01")
    assert "Against the baseline optimizer.lr=0.01: what is chance is not known" in capsys.readouterr().out
