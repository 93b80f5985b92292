"""Runs of a sweep are named by what differs between them, and found again under the same names."""

import json

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from helpers import TINY, call
from vae_lab.errors import ConfigError, RunFolderError
from vae_lab.sweeps.names import keep_constants, run_name

LEFT_OUT = ["sweep", "sweep_dir", "report.baseline"]


def command(folder, *overrides):
    """A command that sweeps, up to its first run."""
    parser = OverridesParser.create()
    keep_constants(folder, parser.parse_overrides(list(overrides)), LEFT_OUT)


def name(folder, *overrides):
    return run_name(overrides, LEFT_OUT, str(folder))


def test_what_is_constant_is_left_out(tmp_path):
    command(tmp_path, "experiment=tiny", "prior=vamp,mixture", "optimizer.lr=1e-3", "seed=0,1", "sweep_dir=x")
    run = ("experiment=tiny", "prior=vamp", "optimizer.lr=0.001", "seed=0", "sweep_dir=x")
    assert name(tmp_path, *run) == "prior=vamp,seed=0"


def test_a_later_command_finds_the_same_runs_and_makes_others_beside_them(tmp_path):
    command(tmp_path, "prior=vamp", "latent_dim=2", "+trainer.max_time='00:01:00:00'", "seed=0,1")
    same = ("prior=vamp", "latent_dim=2", "+trainer.max_time='00:01:00:00'")
    (tmp_path / name(tmp_path, *same, "seed=0")).mkdir()
    # the constant is swept now, in another order of words
    command(tmp_path, "seed=0,1", "prior=mixture,vamp", "latent_dim=2", "+trainer.max_time='00:01:00:00'")
    assert name(tmp_path, "seed=0", *same) == "seed=0"
    others = [("prior=mixture", *same[1:], "seed=0"), ("prior=vamp", "latent_dim=3", same[2], "seed=0")]
    others += [("prior=vamp", "latent_dim=2", "++trainer.max_time='00:01:00:00'", "seed=0")]
    found = {name(tmp_path, *other) for other in others}
    assert len(found) == 3
    assert "seed=0" not in found


def test_a_command_that_leaves_a_constant_out_is_refused_with_the_remedy(tmp_path):
    command(tmp_path, "prior=vamp", "trainer.devices=1", "evaluation.k=3", "seed=0,1")
    (tmp_path / "seed=0").mkdir()
    with pytest.raises(ConfigError, match="the runs in it have prior=vamp, which this command leaves out; add it"):
        command(tmp_path, "seed=0,1")
    command(tmp_path, "prior=mixture", "seed=0,1")  # where it runs and what is measured later is no part of a run


def test_a_sweep_of_an_earlier_version_keeps_its_names(tmp_path):
    (tmp_path / "prior=vamp,seed=0").mkdir()
    command(tmp_path, "seed=0,1", "prior=vamp", "sweep_dir=x")
    assert name(tmp_path, "seed=0", "prior=vamp", "sweep_dir=x") == "prior=vamp,seed=0"
    assert [path.name for path in tmp_path.iterdir()] == ["prior=vamp,seed=0"]


def test_a_sweep_of_which_no_run_has_begun_is_a_new_one(tmp_path):
    command(tmp_path, "prior=vamp", "seed=0,1")
    (tmp_path / ".locks").mkdir()
    command(tmp_path, "latent_dim=2", "seed=0,1")
    assert name(tmp_path, "latent_dim=2", "seed=0") == "seed=0"


def test_one_run_alone_has_all_of_its_overrides(tmp_path):
    command(tmp_path, "prior=vamp", "seed=3")
    assert name(tmp_path, "prior=vamp", "seed=3") == "prior=vamp,seed=3"


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": 1}', "[" * 5000])
def test_damaged_names_are_refused(tmp_path, text):
    (tmp_path / "seed=0").mkdir()
    (tmp_path / ".names.json").write_text(text)
    with pytest.raises(RunFolderError, match="damaged"):
        command(tmp_path, "seed=0,1")
    with pytest.raises(RunFolderError, match="damaged"):
        name(tmp_path, "seed=0")


@pytest.mark.usefixtures("small_files")
def test_a_sweep_goes_on_under_its_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ("-m", *TINY, "callbacks=none", "trainer.max_epochs=1", "sweep_dir=sweep")
    assert call(*arguments, "seed=0,1").code == 0
    answer = call(*arguments, "seed=1,2", "report.baseline=seed=1")
    assert answer.code == 2
    assert answer.err.endswith("report.baseline=seed=1: seeds are folded together; leave the seed out\n")
    assert "fontTools" not in answer.out
    assert "subset" not in answer.out
    assert "seed=1: finished before" in answer.out
    runs = sorted(path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir() and path.name[0] != ".")
    assert runs == ["seed=0", "seed=1", "seed=2"]
    assert (tmp_path / "sweep" / "report.html").is_file()
    assert json.loads((tmp_path / "sweep" / ".names.json").read_text())["latent_dim"] == "2"
    answer = call("-m", "sweep_dir=sweep", "seed=0,1")
    assert answer.code == 2
    assert "sweep_dir=sweep: the runs in it have trainer.max_epochs=1" in answer.err
    assert hparams("sweep/seed=0") == {"seed"}


def hparams(run):
    """The columns of a run in TensorBoard's HPARAMS tab."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(run).Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    return set(metadata.parse_session_start_info_plugin_data(content).hparams)
