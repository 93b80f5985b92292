"""The program on the real MNIST for a few steps: started as people start it, by one command for each way to start."""

import csv
import json
import math
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import vae_lab
from helpers import FIGURES, finish, start, start_warm

SCRIPT = str(Path(sys.executable).with_name("vae_lab"))  # as pip put it there
SHORT = ("debug=fast", "trainer.accelerator=cpu", "hidden_dims=[32]")
UNSEEN = tuple(f"callbacks.{name}=null" for name in FIGURES)  # the figures, each of which takes a third of a second


@pytest.fixture
def program(tmp_path, mnist_root):
    def run(*arguments: str, starts=start_warm, **options) -> subprocess.CompletedProcess:
        return finish(starts(*arguments, folder=tmp_path, root=mnist_root, **options))

    return run


@pytest.fixture(scope="module")
def finished(tmp_path_factory, mnist_root):
    """One short run, and what the program printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = finish(start(*SHORT, "hydra.run.dir=run", "loss=kl", "trainer.devices=1", folder=folder, root=mnist_root))
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout, done.stderr


def test_a_run_leaves_everything_in_its_folder(finished):
    run, _, _ = finished
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    events = {name for name in names if name.startswith("events.out")}
    assert len(events) == 1
    assert names - events == {
        "config.yaml",
        "metrics.json",
        "overrides.yaml",
        "metrics.csv",
        "run.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        *(f"figures/{name}.png" for name in FIGURES),
    }


def test_metrics_json_says_what_was_measured(finished):
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    assert metrics["test/nelbo"] == pytest.approx(metrics["test/kl"] + metrics["test/reconstruction"], abs=1e-3)
    assert metrics["test/n"] == 2000
    assert metrics["binarization"] == "dynamic"
    assert metrics["seed"] == 0
    assert metrics["epochs"] == 2
    assert metrics["train/seconds"] > 0
    assert metrics["train/images_per_second"] > 0
    assert "cpu" in metrics["device"]
    assert torch.__version__ in metrics["versions"]


def test_metrics_csv_has_a_row_for_each_epoch(finished):
    with (finished[0] / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["0", "1"]
    for split in ("train", "val"):
        for row in rows:
            terms = float(row[f"{split}/kl"]) + float(row[f"{split}/reconstruction"])
            assert float(row[f"{split}/nelbo"]) == pytest.approx(terms, abs=1e-3)


def test_the_output_is_a_short_table_and_no_noise(finished):
    run, out, err = finished
    assert err == ""
    lines = out.splitlines()
    assert len(lines) < 16
    assert any(line.startswith("test NELBO") for line in lines)
    assert lines[-2].endswith(run.name)
    assert "━" not in out
    assert "it/s" not in out


def test_the_config_is_resolved_and_names_no_folder(finished):
    text = (finished[0] / "config.yaml").read_text()
    assert "${" not in text
    assert str(finished[0].parent) not in text


def test_the_model_comes_back_in_python(finished):
    model = vae_lab.load(finished[0])
    assert model.sample(4).shape == (4, 1, 28, 28)
    assert len(model.history) == 2


def test_hparams_and_text_are_in_tensorboard(finished):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import plugin_data_pb2

    events = EventAccumulator(str(finished[0])).Reload()
    tags = events.Tags()
    assert "config/text_summary" in tags["tensors"]
    assert {"test/nelbo", "best/nelbo", "train/nelbo", "val/kl"} <= set(tags["scalars"])
    metrics = json.loads((finished[0] / "metrics.json").read_text())
    assert events.Scalars("test/nelbo")[0].value == pytest.approx(metrics["test/nelbo"], rel=1e-6)
    content = events.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    hparams = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert hparams["optimizer.lr"].number_value == 3e-3
    assert hparams["loss"].string_value == "kl"
    assert hparams["hidden_dims"].string_value == "[32]"
    assert len(tags["images"]) == len(FIGURES)


def test_evaluate_gives_the_same_figures_again(finished, program, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "moved")
    before = json.loads((run / "metrics.json").read_text())
    picture = (run / "figures" / "samples.png").read_bytes()
    short = ("trainer.accelerator=cpu", "trainer.limit_test_batches=2", "evaluation.k=3", "evaluation.samples=200")
    done = program("task=evaluate", f"run_dir={run}", *short, starts=start)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "k = 3" in done.stdout
    after = json.loads((run / "metrics.json").read_text())
    assert {name: after[name] for name in before} == before
    assert after["test/kl_3"] + after["test/reconstruction_3"] == pytest.approx(after["test/nelbo_3"])
    assert after["test/nll_iwae_3"] < after["test/nelbo_3"]
    assert after["test/nll_iwae_3_se"] > 0
    assert 0 <= after["test/active_units"] <= 10
    assert (run / "figures" / "bounds.png").exists()
    assert (run / "figures" / "samples.png").read_bytes() == picture
    # the yardsticks are real images, judged by the real classifier
    assert after["judge/samples"] == 200
    assert after["judge/frechet_distance"] > after["judge/frechet_distance_of_training_images"] > 0
    assert 3 < after["judge/nearest_distance_of_test_images"] < 8
    assert 0.5 < after["judge/knn_accuracy"] <= 1
    assert "not Inception's" in done.stdout
    assert (run / "figures" / "copies.png").exists()


def test_evaluate_replaces_lost_metrics_and_takes_another_precision(finished, program, tmp_path):
    run = shutil.copytree(finished[0], tmp_path / "moved")
    (run / "metrics.json").unlink()
    short = ("trainer.accelerator=cpu", "trainer.limit_test_batches=1", "evaluation.k=2", "evaluation.samples=none")
    done = program("task=evaluate", "run_dir=moved", "trainer.precision=64-true", *short)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "metrics.json").read_text())["data"] == "mnist"


def test_results_are_read_from_run_folders(finished):
    script = Path(__file__).resolve().parents[2] / "benchmarks" / "results.py"
    done = subprocess.run([sys.executable, str(script), str(finished[0])], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (row,) = [line for line in done.stdout.splitlines() if line.startswith("| `python -m vae_lab")]
    assert "hidden_dims=[32]" in row
    assert "debug=fast" in row
    nelbo = json.loads((finished[0] / "metrics.json").read_text())["test/nelbo"]
    assert f"| {nelbo:.2f} |" in row


@pytest.mark.parametrize(("prior", "method"), [("standard_normal", "closed form"), ("mixture", "numerical integral")])
def test_the_estimator_meets_its_value(program, tmp_path, prior, method):
    done = program("experiment=estimator_check", f"prior={prior}", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert method in done.stdout
    found = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert found["estimator/method"] == method
    assert found["estimator/n"] == 3901
    assert abs(found["estimator/estimate"] - found["estimator/value"]) < 4 * found["estimator/error"]
    assert (tmp_path / "run" / "figures" / "estimator_check.png").exists()


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(finished, program, tmp_path):
    figures = []
    as_pip_put_it = {"starts": start, "program": [SCRIPT]}
    for name, seed, options in (("same", 0, as_pip_put_it), ("other", 1, {})):
        done = program(*SHORT, *UNSEEN, f"hydra.run.dir={name}", f"seed={seed}", **options)
        assert done.returncode == 0, done.stderr
        figures.append(json.loads((tmp_path / name / "metrics.json").read_text()))
    first = json.loads((finished[0] / "metrics.json").read_text())
    timed = {"train/seconds", "train/images_per_second"}
    assert {k: v for k, v in figures[0].items() if k not in timed} == {k: v for k, v in first.items() if k not in timed}
    assert figures[1]["test/nelbo"] != first["test/nelbo"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=sgvb", "prior=mixture", "likelihood=gaussian", "data.binarization=none", "optimizer=adamw"],
        ["data.validation=none", "scheduler=none", "loss.samples=3", "latent_dim=1", "logger=csv"],
        ["encoder.layer_norm=true", "data.binarization=static", "loss.warmup_epochs=1", "latent_dim=2"],
    ],
)
def test_other_parts_run_without_noise(program, tmp_path, overrides):
    done = program(*SHORT, "hydra.run.dir=run", *overrides)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test/kl"] >= 0 or "prior=mixture" in overrides
    assert ("grey levels, a density, not a probability" in done.stdout) == ("likelihood=gaussian" in overrides)
    assert "bits" not in done.stdout


def test_grey_levels_under_a_bernoulli_are_not_called_a_likelihood(program, tmp_path):
    done = program(*SHORT, *UNSEEN, "hydra.run.dir=run", "data.binarization=none")
    assert "cross-entropy on grey levels, not a likelihood" in done.stdout
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["is_likelihood"] is False


def test_probabilities_of_levels_are_given_in_bits_too(program, tmp_path):
    of_levels = ("likelihood=logistic_mixture", "data.binarization=none", "encoder=resnet", "decoder=resnet")
    done = program(*SHORT, *UNSEEN, "hydra.run.dir=levels", "channels=[4,4]", *of_levels)
    metrics = json.loads((tmp_path / "levels" / "metrics.json").read_text())
    assert metrics["test/bits_per_dimension"] == pytest.approx(metrics["test/nelbo"] / (784 * math.log(2)))
    assert re.search(rf"bits/dimension +{metrics['test/bits_per_dimension']:.3f}  of the NELBO", done.stdout)


@pytest.mark.slow  # half a minute for the compiler
def test_a_compiled_loss_trains_as_well(program, tmp_path, finished):
    done = program(*SHORT, "hydra.run.dir=run", "compile=true", starts=start)
    assert done.returncode == 0, done.stderr
    nelbo = [json.loads((run / "metrics.json").read_text())["test/nelbo"] for run in (tmp_path / "run", finished[0])]
    assert nelbo[0] == pytest.approx(nelbo[1], rel=0.05)  # it draws other noise


def test_two_processes_train_one_model_in_one_folder(finished, program, tmp_path):
    several = ("trainer.devices=2", "trainer.strategy=ddp")
    done = program(*SHORT, "hydra.run.dir=run", "loss=kl", *several, starts=start)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("test NELBO") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert {path.name.partition("1")[0] for path in (tmp_path / "run").iterdir()} == {
        path.name.partition("1")[0] for path in finished[0].iterdir()
    }
    alone = json.loads((finished[0] / "metrics.json").read_text())
    both = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert both["device"].startswith("2 × cpu")
    for name in ("best/train/n", "best/val/n", "test/n"):
        assert both[name] == alone[name]
    for name in ("best/val/nelbo", "test/nelbo"):
        assert both[name] == pytest.approx(alone[name], rel=5e-3)
        assert both[name] != alone[name]


@pytest.mark.slow  # two further processes that start; the test above has them too
def test_two_processes_end_with_one_line(program):
    done = program(*SHORT, "hydra.run.dir=run", "optimizer.lr=1e30", "trainer.devices=2")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "not finite" in line
