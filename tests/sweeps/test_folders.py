"""A run of a sweep is called by its overrides, whatever they hold."""

import json

import pytest

from vae_lab.arguments import prepared
from vae_lab.sweeps.folders import failures, folder_name, metrics_of

OVERRIDES = [
    "optimizer.lr=0.001,hidden_dims=[300,300]",
    "+trainer.max_time='00:01:00:00'",
    "data.root=/somewhere/else",
    "data.root=/somewhere_else",
    "data.root=_somewhere_else",
    'hydra.job.name="two words"',
    ",".join(f"callbacks.figure_{i}=null" for i in range(40)),
    ",".join(f"callbacks.figure_{i}=null" for i in range(41)),
    "ü" * 150,
    "",
]


def test_every_name_is_one_folder_and_its_own(tmp_path):
    names = [folder_name(overrides) for overrides in OVERRIDES]
    assert len(set(names)) == len(names)
    for name in names:
        (tmp_path / f"{name}.lock").mkdir()
        (tmp_path / name).mkdir()
    assert len(list(tmp_path.iterdir())) == 2 * len(names)


def test_a_name_that_is_a_file_name_already_stays():
    assert folder_name(OVERRIDES[0]) == OVERRIDES[0]


def test_a_run_counts_as_finished_when_it_was_tested(tmp_path):
    assert metrics_of(tmp_path) is None
    (tmp_path / "metrics.json").write_text(json.dumps({"train/nelbo": 1.0}))
    assert metrics_of(tmp_path) is None
    (tmp_path / "metrics.json").write_text('{"test/nelbo": 1.')
    assert metrics_of(tmp_path) is None
    (tmp_path / "metrics.json").write_text(json.dumps({"test/nelbo": 1.0}))
    assert metrics_of(tmp_path) == {"test/nelbo": 1.0}


def test_failures_are_found_by_their_file(tmp_path):
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    (tmp_path / "bad" / "failure.txt").write_text("no room\n")
    assert list(failures(tmp_path)) == ["bad"]


@pytest.mark.parametrize("name", ["a,b=[1,2]", "it's", "plain"])
def test_a_folder_on_the_command_line_needs_no_quotes(tmp_path, name):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    folder = tmp_path / name
    folder.mkdir()
    parsed = OverridesParser.create().parse_override(prepared([f"run_dir={folder}"])[-1])
    assert parsed.value() == str(folder)
    assert not parsed.is_sweep_override()
    assert prepared(["-m", "run_dir=a,b"])[-1] == "run_dir=a,b"
