"""Every argument of Lightning's Trainer works in a run, or is refused by name before it."""

import inspect
import json
import os
import re
from pathlib import Path

import hydra
import pytest
import torch
from lightning import Trainer
from omegaconf import OmegaConf

from helpers import TINY, call, small_training, trainer
from vae_lab.config.check import check
from vae_lab.config.trainer_arguments import REFUSED, WORKS
from vae_lab.errors import ConfigError
from vae_lab.paths import CONF
from vae_lab.tasks.checks import check_before_training, check_limit
from vae_lab.tasks.evaluate import check_figures_stay
from vae_lab.training import hardware

ARGUMENTS = set(inspect.signature(Trainer).parameters)
EARLY = "lightning.pytorch.callbacks.EarlyStopping"


@pytest.fixture
def compose():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: hydra.compose("config", list(overrides))


@pytest.fixture
def here(tmp_path, small_files, monkeypatch) -> Path:  # noqa: ARG001
    """An empty folder to run in, and small files in MNIST's place."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --- which there are ----------------------------------------------------------------------------------------


def test_every_argument_works_or_is_refused():
    assert set(WORKS) | set(REFUSED) == ARGUMENTS
    assert not set(WORKS) & set(REFUSED)


def test_the_document_has_a_row_for_every_argument():
    text = (Path(__file__).resolve().parents[1] / "docs" / "trainer.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE))
    assert set(rows) == ARGUMENTS
    assert {name for name, kind in rows.items() if kind == "works"} == set(WORKS)
    assert set(rows.values()) == {"works", "refused", "set"}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_is_named_with_what_it_must_be_and_may_have_its_default(compose, name):
    config, default = compose(), inspect.signature(Trainer).parameters[name].default
    OmegaConf.update(config, f"trainer.{name}", default, force_add=True)
    check(config)
    other = {bool: not default, int: 7, float: 0.5, type(None): 7}[type(default)]
    OmegaConf.update(config, f"trainer.{name}", other if name not in ("model_registry", "default_root_dir") else "x")
    with pytest.raises(ConfigError, match=rf"^trainer\.{name}=.*: must be ") as raised:
        check(config)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("trainer.strategy=ddp_spawn", "trainer.strategy=ddp_spawn: must be 'auto', 'ddp', "),
        ("trainer.strategy=ddp_fork", "trainer.strategy=ddp_fork: must be 'auto', 'ddp', "),
        ("trainer.strategy=ddp_notebook_find_unused_parameters_true", "must be 'auto', 'ddp', "),
        ("trainer.strategy=fsdp", "trainer.strategy=fsdp: must be 'auto', 'ddp', "),
        ("trainer.precision=transformer-engine", "trainer.precision=transformer-engine: must be '32-true', "),
        ("trainer.devices=0", "trainer.devices=0: must be greater than or equal to 1"),
        ("+trainer.max_time='00:00:00:00'", "trainer.max_time=00:00:00:00: must be days:hours:minutes:seconds"),
        ("+trainer.max_time='1:30'", "trainer.max_time=1:30: must be days:hours:minutes:seconds"),
        ("+trainer.max_time={}", "trainer.max_time={}: must be days:hours:minutes:seconds"),
        ("+trainer.max_time={years:1}", "must be 'weeks', 'days', 'hours', 'minutes' or 'seconds'"),
        ("+trainer.min_epochs=37", "trainer.min_epochs=37: must be at most trainer.max_epochs=36"),
        (
            "+trainer.gradient_clip_algorithm=value",
            "trainer.gradient_clip_algorithm=value: needs trainer.gradient_clip_",
        ),
        ("+trainer.profiler=pytorch", "trainer.profiler=pytorch: must be 'simple' or 'advanced'"),
        ("trainer.limit_train_batches=0", "trainer.limit_train_batches=0: must be greater than or equal to 1"),
        ("threads=0", "threads=0: must be greater than or equal to 1"),
        ("threads=all", "threads=all: must be a valid integer or must be 'auto'"),
        ("callbacks.early_stopping.patience=-1", "callbacks.early_stopping.patience=-1: must be greater than or equal"),
        ("+callbacks.early_stopping.min_delta=-1", "callbacks.early_stopping.min_delta=-1: must be greater than or"),
        ("+callbacks.early_stopping.mode=up", "callbacks.early_stopping.mode=up: must be 'min' or 'max'"),
    ],
)
def test_a_value_that_cannot_work_is_one_line(compose, override, line):
    with pytest.raises(ConfigError) as raised:
        check(compose("callbacks=early_stopping", override))
    assert line in str(raised.value)
    assert "\n" not in str(raised.value)


# --- what only the parts can tell ---------------------------------------------------------------------------


@pytest.mark.parametrize("batches", [1, 3, 5, 10, 29, 55, 550, 1000, 1999])
def test_the_smallest_share_that_is_named_is_one_batch(batches):
    check_limit("trainer.limit_val_batches", 1.0, batches)
    check_limit("trainer.limit_val_batches", 1, batches)
    with pytest.raises(ConfigError, match=f"less than one of {batches} batches") as raised:
        check_limit("trainer.limit_val_batches", 0.9 / batches, batches)
    smallest = float(re.search(r"use ([\d.]+) or more", str(raised.value))[1])
    check_limit("trainer.limit_val_batches", smallest, batches)
    assert smallest < 1.1 / batches


def ready(folder, data, config=None, **options):
    """Run the checks before training, over the small data; they change no random number of the run."""
    data.setup()
    training = small_training()
    before = torch.get_rng_state()
    with_callbacks = OmegaConf.create({"compile": False, "callbacks": None} | (config or {}))
    check_before_training(with_callbacks, trainer(folder, **options), training, data)
    assert torch.equal(torch.get_rng_state(), before)


def refusal_of(folder, data, config) -> str | None:
    """What the checks before training say of a config; None where they let it pass."""
    try:
        ready(folder, data, config)
    except ConfigError as error:
        return str(error)
    return None


@pytest.mark.parametrize(("stage", "batches"), [("train", 5), ("val", 1), ("test", 3)])
def test_a_share_of_less_than_one_batch_is_refused_for_every_stage(tmp_path, small_data, stage, batches):
    name = f"limit_{stage}_batches"
    with pytest.raises(ConfigError, match=rf"trainer.{name}=0.01: is less than one of {batches} batches; use "):
        ready(tmp_path, small_data, **{name: 0.01})
    ready(tmp_path, small_data, **{name: 1})


@pytest.mark.parametrize(
    ("options", "trainer_options", "line"),
    [
        (
            {"monitor": "val/loss"},
            {},
            "callbacks.stop.monitor=val/loss: no such figure is logged; there are criterion, ",
        ),
        ({"monitor": "val/loss", "strict": False}, {}, "val/kl, val/nelbo, val/reconstruction"),
        ({"monitor": "lr"}, {}, "callbacks.stop.monitor=lr: no such figure"),
        ({"monitor": "val/nelbo"}, {"limit_val_batches": 0}, "there are criterion, nelbo, train/kl, "),
        ({"monitor": "criterion", "check_on_train_epoch_end": False}, {}, "there are val/kl, val/nelbo"),
        (
            {"monitor": "val/nelbo", "check_on_train_epoch_end": False},
            {"limit_val_batches": 0},
            "callbacks.stop.check_on_train_epoch_end=False: there is no validation; use true",
        ),
        ({"monitor": "criterion", "mode": "max"}, {}, "callbacks.stop.mode=max: criterion is better where it is lower"),
    ],
)
def test_early_stopping_on_what_is_not_logged_is_refused(tmp_path, small_data, options, trainer_options, line):
    with pytest.raises(ConfigError) as raised:
        ready(tmp_path, small_data, {"callbacks": {"stop": {"_target_": EARLY} | options}}, **trainer_options)
    assert line in str(raised.value)


@pytest.mark.parametrize("monitor", ["criterion", "nelbo", "val/kl", "train/reconstruction"])
def test_early_stopping_on_what_is_logged_is_allowed(tmp_path, small_data, monitor):
    config = {"callbacks": {"stop": {"_target_": EARLY, "monitor": monitor}, "other": None}}
    assert refusal_of(tmp_path, small_data, config) is None


def test_a_compiler_that_fails_is_one_line(tmp_path, small_data, monkeypatch):
    class Wrapped(Exception):
        inner_exception = RuntimeError("No working C++ compiler found\nand much more")

    def broken(_):
        raise Wrapped("backend='inductor' raised:")

    monkeypatch.setattr(torch, "compile", broken)
    assert hardware.why_not_compiled(torch.device("cpu")) == "No working C++ compiler found"
    with pytest.raises(ConfigError, match=r"compile=True: the compiler does not work here \(No working C.*; use false"):
        ready(tmp_path, small_data, {"compile": True})


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("trainer.precision=16-mixed",), "trainer.precision=16-mixed: needs a GPU; on a CPU use bf16-mixed"),
        (
            ("trainer.graphs=true",),
            "trainer.graphs=True: graphs are captured on an NVIDIA GPU, and this run is on the cpu",
        ),
        (("trainer.precision=16",), "trainer.precision=16: needs a GPU; on a CPU use bf16-mixed"),
        (
            ("trainer.strategy=single_device", "trainer.devices=2"),
            "trainer.strategy=single_device: works on one device",
        ),
        (("+trainer.num_nodes=2",), "trainer.num_nodes=2: must be 1: a run works on one machine; use trainer.devices"),
        (("trainer.limit_val_batches=0.1",), "trainer.limit_val_batches=0.1: is less than one of 1 batches; use 1 or"),
        (
            (
                "+callbacks.bar._target_=lightning.pytorch.callbacks.TQDMProgressBar",
                "+trainer.enable_progress_bar=false",
            ),
            "trainer.enable_progress_bar=False: callbacks name a progress bar",
        ),
        (("run_dir=there",), "run_dir=there: task=train makes a run of its own"),
        (("task=estimator_check", "run_dir=there"), "run_dir=there: there is no such folder"),
    ],
)
def test_what_cannot_work_here_is_one_line_and_leaves_no_folder(here, arguments, line):
    answer = call(*TINY, *arguments, "hydra.run.dir=run")
    assert answer.code == 2
    assert line in answer.err
    assert answer.err.count("\n") == 1
    assert not list(here.iterdir())


@pytest.mark.parametrize("arguments", [("16-true", "+optimizer.eps=1e-4"), ("bf16-true",)])
def test_after_training_everything_is_computed_in_float32(here, arguments):
    grid = "callbacks.latent_grid={_target_: vae_lab.training.callbacks.LatentGrid}"  # which needs linear algebra
    precision, *rest = arguments
    answer = call(*TINY, grid, f"trainer.precision={precision}", *rest, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    first = json.loads((here / "run" / "metrics.json").read_text())
    assert (here / "run" / "figures" / "latent_grid.png").exists()
    short = ("trainer.accelerator=cpu", "evaluation.k=2", "evaluation.samples=none")
    assert call("task=evaluate", "run_dir=run", *short).code == 0
    assert json.loads((here / "run" / "metrics.json").read_text())["test/nelbo"] == pytest.approx(first["test/nelbo"])


@pytest.mark.usefixtures("here")
def test_the_epsilon_of_float16_is_blamed_and_not_the_learning_rate():
    answer = call(*TINY, "trainer.precision=16-true", "hydra.run.dir=run")
    assert answer.code == 2
    assert "trainer.precision=16-true: training turned NaN: float16 rounds optimizer.eps=1e-8 to 0" in answer.err


def test_output_that_is_no_terminal_has_a_line_for_each_epoch(here):
    answer = call(*TINY, "hydra.run.dir=run")
    said = re.findall(r"^epoch (\d)/2  validation NELBO [\d.]+  [\d.]+ s  [\d.]+ s left$", answer.out, re.MULTILINE)
    assert said == ["1", "2"]
    assert len(re.findall(r"INFO epoch \d/2  validation NELBO", (here / "run" / "run.log").read_text())) == 2
    assert "stopped early" not in answer.out
    silent = call(*TINY, "hydra.run.dir=silent", "+trainer.enable_progress_bar=false", "trainer.limit_val_batches=0")
    assert silent.code == 0, silent.err
    assert "epoch 1" not in silent.out


def test_max_time_ends_a_run_and_the_reason_is_said(here):
    endless = ("trainer.max_epochs=1000000", "+trainer.max_time={seconds:0.5}", "trainer.limit_val_batches=0")
    answer = call(*TINY, *endless, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "up to 1000000 epochs or 0.5 s" in answer.out
    assert re.search(r"training NELBO [\d.]+  .* s  0\.\d s left", answer.out)
    assert re.search(r"stopped early, in epoch \d+: trainer\.max_time=0\.5 s is over\. Best NELBO", answer.out)
    assert (here / "run" / "metrics.json").exists()


def test_early_stopping_says_what_it_does(here):
    stop = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1", "+callbacks.early_stopping.verbose=true")
    learning = ("optimizer.lr=0.3", "scheduler=none", "trainer.max_epochs=50", "+trainer.min_epochs=3")
    answer = call(*TINY, *stop, *learning, "callbacks.real_images=null", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "Metric criterion improved. New best score" in answer.out
    line = r"stopped early, in epoch (\d+): criterion did not improve for \d+ epochs\. Best NELBO [\d.]+ in epoch \d+"
    assert int(re.search(line, answer.out)[1]) >= 3
    assert "stopped early" in (here / "run" / "run.log").read_text()


def test_what_lightning_can_show_is_shown_where_it_is_asked_for(here):
    shown = (
        "+trainer.profiler=simple",
        "+callbacks.parts._target_=lightning.pytorch.callbacks.ModelSummary",
        "+callbacks.bar._target_=lightning.pytorch.callbacks.TQDMProgressBar",
        "trainer.gradient_clip_val=0.1",
        "+trainer.gradient_clip_algorithm=value",
        "+trainer.detect_anomaly=true",
        "+trainer.inference_mode=false",
    )
    answer = call(*TINY, *shown, "trainer.strategy=single_device", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "Trainable params" in answer.out
    assert "Epoch 1: 100%" in answer.out + answer.err
    assert "training_step" in (here / "run" / "fit-profile.txt").read_text()


@pytest.mark.usefixtures("here")
def test_threads_are_those_that_were_asked_for_and_only_in_that_run(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    answer = call(*TINY, "threads=3", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert "on cpu (3 threads)" in answer.out
    assert torch.get_num_threads() == before


def test_the_quickest_number_of_threads_is_found_and_fewer_where_they_are_as_quick(monkeypatch):
    tried = []
    now = [0.0]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 12)
    monkeypatch.setattr(torch, "set_num_threads", tried.append)
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: now[0])

    def found(seconds):
        def step():
            now[0] += seconds[tried[-1] if tried else 12]

        tried.clear()
        return hardware.quickest_threads(step), tried[:-1]

    assert found({12: 0.01, 6: 0.02}) == (12, [12, 6])
    assert found({12: 0.1, 6: 0.03, 3: 0.02, 1: 0.04}) == (3, [12, 6, 3, 1])
    assert found({12: 0.0201, 6: 0.02, 3: 0.0202, 1: 0.0203}) == (1, [12, 6, 3, 1])
    assert found({12: 5.0, 6: 1.0, 3: 9.0}) == (6, [12, 6, 3])


def test_the_number_of_threads_is_measured_recorded_and_kept(here, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    asked = []
    monkeypatch.setattr(hardware, "quickest_threads", lambda step: asked.append(step()) or 1)
    answer = call(*TINY, "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    config = here / "run" / "config.yaml"
    assert "threads: 1\n" in config.read_text()
    (here / "run" / "metrics.json").unlink()
    assert call("resume=run").code == 0
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert call(*TINY, "hydra.run.dir=told").code == 0
    assert "threads: auto\n" in (here / "told" / "config.yaml").read_text()
    assert len(asked) == 1


@pytest.mark.parametrize(("set_by_user", "policy"), [({}, "64000"), ({"OMP_WAIT_POLICY": "active"}, None)])
def test_waiting_threads_sleep_soon_unless_the_user_says_how_they_wait(monkeypatch, set_by_user, policy):
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        monkeypatch.setenv(name, "")  # so that it is put back after the test
        monkeypatch.delenv(name)
    for name, value in set_by_user.items():
        monkeypatch.setenv(name, value)
    assert call("--help").code == 0
    assert os.environ.get("GOMP_SPINCOUNT") == policy


@pytest.mark.usefixtures("small_files")
def test_evaluation_never_replaces_figures_by_those_of_fewer_images(tiny_run):
    before = {file: file.read_bytes() for file in tiny_run.rglob("*") if file.is_file() and file.name != "run.log"}
    base = (
        "task=evaluate",
        f"run_dir={tiny_run}",
        "trainer.accelerator=cpu",
        "evaluation.k=2",
        "evaluation.samples=none",
    )
    for arguments, line in (
        (("trainer.limit_test_batches=0.001",), "trainer.limit_test_batches=0.001: is less than one of 1 batches"),
        (("trainer.max_epochs=1",), "trainer.max_epochs=1: a finished run is not trained; leave it out"),
        (("+trainer.max_time=00:00:00:01",), "trainer.max_time=00:00:00:01: a finished run is not trained"),
        (("loss.coeff=2",), "loss.coeff=2: a finished run keeps its own settings"),
    ):
        answer = call(*base, *arguments)
        assert (answer.code, answer.err.count("\n")) == (2, 1), answer.err
        assert line in answer.err
    assert {file: file.read_bytes() for file in before} == before


def test_fewer_images_are_refused_with_the_key_and_the_remedy(tmp_path, small_data):
    small_data.eval_batch_size = 30
    fit = trainer(tmp_path, limit_test_batches=2)
    with pytest.raises(ConfigError, match=r"trainer.limit_test_batches=2: figures of 60 images would replace .* 70; "):
        check_figures_stay(fit, small_data, {"test/n": 70.0})
    check_figures_stay(fit, small_data, {"test/n": 60.0})
    check_figures_stay(fit, small_data, {})
