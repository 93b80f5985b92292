"""Runs are found, distinguished by what was swept, folded over seeds and compared."""

import math
import statistics

import pytest
from scipy import special

from vae_lab.config.settings import name_of, shown
from vae_lab.errors import RunFolderError
from vae_lab.sweeps.comparisons import difference
from vae_lab.sweeps.runs import BEST, TEST, find
from vae_lab.sweeps.sweep import Sweep


def keys_of(sweep):
    return [name_of(key) for key in sweep.keys]


def values_of(sweep, name):
    key = next(key for key in sweep.keys if name_of(key) == name)
    return [shown(key, setting.values.get(key)) for setting in sweep.settings]


def test_a_key_that_only_follows_another_is_not_named_again(make_run, tmp_path):
    for seed in (0, 1):
        for dims in ("[300]", "[512,256]"):
            make_run(f"hidden_dims={dims}", f"seed={seed}", nelbo=100 + seed + len(dims))
    sweep = Sweep(tmp_path / "sweep")
    assert keys_of(sweep) == ["hidden_dims"]
    assert values_of(sweep, "hidden_dims") == ["[300]", "[512,256]"]
    assert [len(setting.runs) for setting in sweep.settings] == [2, 2]


def test_a_part_is_one_column_with_the_name_of_its_choice(make_run, tmp_path):
    make_run("loss=sgvb", "prior=mixture", nelbo=100)
    make_run("loss=sgvb", "prior=vamp", nelbo=101)
    make_run("loss=sgvb", "prior=planar_flow", nelbo=102)
    sweep = Sweep(tmp_path / "sweep")
    assert keys_of(sweep) == ["prior"]
    assert values_of(sweep, "prior") == ["mixture", "vamp", "planar_flow"]


def test_an_argument_counts_where_it_differs_within_one_class(make_run, tmp_path):
    make_run("loss=sgvb", "prior=mixture", "prior.components=5", nelbo=100)
    make_run("loss=sgvb", "prior=mixture", "prior.components=20", nelbo=101)
    make_run("scheduler=none", "likelihood=gaussian", nelbo=102)
    sweep = Sweep(tmp_path / "sweep")
    assert set(keys_of(sweep)) == {"prior", "prior.components", "loss", "scheduler", "likelihood"}
    assert values_of(sweep, "scheduler") == ["warmup_cosine", "warmup_cosine", "none"]
    # the three that change together are one axis
    assert sorted(len(axis) for axis in sweep.axes) == [1, 4]
    assert not sweep.is_on_one_scale


def test_figures_and_places_are_no_settings(make_run, tmp_path):
    make_run("callbacks.samples.rows=3", "seed=0")
    make_run("evaluation.k=7", "data.root=elsewhere", "seed=1")
    assert Sweep(tmp_path / "sweep").keys == []


def test_seeds_are_folded_and_a_repetition_is_no_second_seed(make_run, tmp_path):
    for seed, nelbo in ((0, 100.0), (1, 102.0), (2, 107.0)):
        make_run(f"seed={seed}", nelbo=nelbo)
    make_run("seed=1", nelbo=50.0, folder="sweep/zz_again")
    (setting,) = Sweep(tmp_path / "sweep").settings
    assert [run.seed for run in setting.runs] == [0, 1, 2]
    assert setting.mean(BEST) == pytest.approx(103)
    assert setting.sd(TEST) == pytest.approx(statistics.stdev([100, 102, 107]))


def test_the_difference_is_welchs(make_run, tmp_path):
    for lr, nelbos in (("0.001", (100.0, 101.0, 102.0)), ("0.01", (104.0, 106.0))):
        for seed, nelbo in enumerate(nelbos):
            make_run(f"optimizer.lr={lr}", f"seed={seed}", nelbo=nelbo)
    best, other = Sweep(tmp_path / "sweep").settings
    found = difference(best, other, BEST)
    # variances of the means 1/3 and 2/2, so that Welch and Satterthwaite's degrees of freedom are 32/19
    error = math.sqrt(1 / 3 + 1)
    assert found.mean == pytest.approx(4)
    assert found.error == pytest.approx(error)
    assert found.in_errors == pytest.approx(4 / error)
    assert found.by_chance == pytest.approx(special.stdtrit(32 / 19, 0.975))


def test_one_seed_does_not_say_how_sure(make_run, tmp_path):
    make_run("optimizer.lr=0.001", nelbo=100)
    make_run("optimizer.lr=0.01", nelbo=101)
    assert difference(*Sweep(tmp_path / "sweep").settings, TEST) is None


def test_seeds_without_spread_do_not_say_how_sure(make_run, tmp_path):
    for lr, nelbo in (("0.001", 100.0), ("0.01", 101.0)):
        for seed in (0, 1):
            make_run(f"optimizer.lr={lr}", f"seed={seed}", nelbo=nelbo)
    assert difference(*Sweep(tmp_path / "sweep").settings, TEST) is None


def test_a_run_is_chosen_by_its_own_criterion(make_run, tmp_path):
    make_run("latent_dim=2", nelbo=7.0, criterion="frechet_distance")
    make_run("latent_dim=3", nelbo=5.0, criterion="frechet_distance")
    sweep = Sweep(tmp_path / "sweep")
    assert [run.figure(BEST) for run in sweep.finished] == [5.0, 7.0]
    assert [setting.mean(TEST) for setting in sweep.settings] == [6.0, 8.0]
    assert sweep.chosen_by == ("validation Fréchet distance", "")
    assert sweep.quantity == ("Fréchet distance", "")
    assert sweep.terms == {}
    assert sweep.is_on_one_scale
    make_run("latent_dim=4", nelbo=100.0)
    assert not Sweep(tmp_path / "sweep").is_on_one_scale


@pytest.mark.parametrize("module", ["vae_lab.callbacks", "vae_lab.training.callbacks", "vae_lab.training.figures"])
def test_a_callback_that_draws_is_no_setting_wherever_its_class_stands(make_run, tmp_path, module):
    for rows in (2, 3):
        run = make_run(f"callbacks.samples.rows={rows}", f"seed={rows}")
        text = (run / "config.yaml").read_text()
        text = text.replace("vae_lab.training.callbacks.PriorSamples", f"{module}.PriorSamples")
        (run / "config.yaml").write_text(text)
    make_run("scheduler=none", "callbacks=early_stopping")
    assert set(keys_of(Sweep(tmp_path / "sweep"))) == {"scheduler", "callbacks.early_stopping"}


def test_what_did_not_finish_is_told_apart(make_run, tmp_path):
    make_run("optimizer.lr=0.001")
    failed = make_run("optimizer.lr=1.0", nelbo=None)
    (failed / "failure.txt").write_text("the loss was not finite\n")
    make_run("optimizer.lr=0.01", nelbo=None)
    early = tmp_path / "sweep" / "hidden_dims=[0,3],seed=4,prior=mixture"
    early.mkdir()
    (early / "failure.txt").write_text("hidden_dims=[0,3]: must be greater\n")
    sweep = Sweep(tmp_path / "sweep")
    status = {run.name: (run.status, run.failure) for run in sweep.unfinished}
    assert status == {
        "hidden_dims=[0,3],seed=4,prior=mixture": ("failed", "hidden_dims=[0,3]: must be greater"),
        "optimizer.lr=0.01": ("cut off", None),
        "optimizer.lr=1.0": ("failed", "the loss was not finite"),
    }
    # a run without a config is known by its folder's name
    run = next(run for run in sweep.unfinished if run.seed == 4)
    assert set(keys_of(sweep)) == {"optimizer.lr", "hidden_dims", "prior"}
    assert run.settings["hidden_dims"] == [0, 3]
    assert shown("prior._target_", run.settings["prior._target_"]) == "mixture"
    assert run.settings["optimizer.lr"] == 0.001


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("metrics.json", "[1]", "metrics.json: damaged"),
        ("metrics.json", '{"test/nelbo": NaN}', "test/nelbo is not a finite number"),
        ("metrics.json", '{"test/nelbo": "<b>", "best/nelbo": 1}', "test/nelbo is not a finite number"),
        ("config.yaml", "a: [1", "cannot be read as a config"),
        ("metrics.csv", "epoch,val/nelbo\n0,x\n", "metrics.csv: damaged"),
    ],
)
def test_a_damaged_run_is_a_failed_one_and_spoils_no_other(make_run, tmp_path, file, text, reason):
    make_run("optimizer.lr=0.001")
    (make_run("optimizer.lr=0.01") / file).write_text(text)
    sweep = Sweep(tmp_path / "sweep")
    (broken,) = sweep.unfinished
    assert broken.status == "failed"
    assert reason in broken.failure
    assert keys_of(sweep) == ["optimizer.lr"]


def test_runs_are_found_at_any_depth_and_through_links(make_run, tmp_path):
    run = make_run("seed=1", folder="elsewhere")
    folder = tmp_path / "collected" / "deep"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(run)
    (folder / "loop").symlink_to(tmp_path / "collected")
    (folder / "cut_off_at_once").mkdir()
    (folder / "cut_off_at_once" / "run.log").touch()
    assert [path.name for path in find(tmp_path / "collected")] == ["cut_off_at_once", "link"]


def test_a_folder_without_runs_is_named(make_run, tmp_path):
    run = make_run("seed=1")
    (tmp_path / "empty").mkdir()
    for folder, reason in ((None, "sweep_dir=FOLDER"), (tmp_path / "empty", "holds no runs"), (run, "is a run itself")):
        with pytest.raises(RunFolderError, match=reason):
            find(folder)
