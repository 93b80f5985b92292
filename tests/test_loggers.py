"""What TensorBoard shows of a run: curves without doubles, columns of one kind, and no thread that stays."""

import threading

import hydra
import pytest
from lightning import Callback
from omegaconf import OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from helpers import TINY, call, small_training, trainer
from vae_lab.config.settings import parts_of
from vae_lab.paths import CONF
from vae_lab.tasks.summary import hparams_of
from vae_lab.training.loggers import TensorBoard


def columns(*overrides, swept=()):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", list(overrides))
    return hparams_of(config, parts_of(config), swept)


@pytest.fixture(scope="module")
def usual():
    return columns()


MEMBERS = {
    "another prior": (["loss=sgvb", "prior=mixture"], {"prior.components": (0, 10)}),
    "a prior of several arguments": (["prior=flow"], {"prior.kind": ("–", "spline"), "prior.transforms": (0, 3)}),
    "a likelihood": (["likelihood=gaussian"], {"likelihood.learned": ("–", "false")}),
    "a value that is text or not": (["likelihood=gaussian", "likelihood.learned=per_pixel"], {}),
    "a network": (["encoder=conv", "decoder=conv"], {"encoder.kernel": (0, 4), "encoder.layer_norm": ("false", "–")}),
    "no schedule": (["scheduler=none"], {"scheduler": ("warmup_cosine", "none"), "scheduler.warmup_steps": (500, 0)}),
    "a callback": (["callbacks=early_stopping"], {"callbacks.early_stopping.patience": (0, 20)}),
    "a limit or none": (["trainer.gradient_clip_val=100"], {"trainer.gradient_clip_val": (0, 100)}),
    "no limit of epochs": (["trainer.max_epochs=null", "trainer.max_steps=9"], {"trainer.max_epochs": (36, 0)}),
    "none held out": (["data.validation=none"], {"data.validation": (5000, 0)}),
    "a number that is a name": (["trainer.precision=32"], {"trainer.precision": ("32-true", "32")}),
    "another set": (["data=kmnist"], {"data": ("mnist", "kmnist")}),
    "another optimiser": (["optimizer=adamw"], {"optimizer": ("adam", "adamw")}),
    "a recipe": (["experiment=conv_planar"], {"prior.layers": (0, 10)}),
}


@pytest.mark.parametrize("name", MEMBERS)
def test_every_run_has_a_value_of_one_kind_in_each_column(usual, name):
    overrides, expected = MEMBERS[name]
    other = columns(*overrides)
    assert other.keys() == usual.keys()
    assert {key for key in usual if isinstance(usual[key], str) != isinstance(other[key], str)} == set()
    assert {key: (usual[key], other[key]) for key in expected} == expected


def test_the_columns_are_the_settings_that_the_report_names(usual):
    assert usual["optimizer.lr"] == 0.003
    assert usual["hidden_dims"] == "[300,300]"
    for absent in ("encoder.hidden_dims", "logger", "callbacks.samples", "threads", "matmul", "task"):
        assert absent not in usual


@pytest.mark.parametrize(
    ("swept", "expected"),
    [
        (["seed", "optimizer.lr"], {"seed", "optimizer.lr"}),
        (["hidden_dims"], {"hidden_dims"}),
    ],
)
def test_a_run_of_a_sweep_has_the_columns_that_it_sweeps(swept, expected):
    assert set(columns(swept=swept)) == expected


def test_a_part_that_is_swept_comes_with_its_arguments_and_a_recipe_with_all(usual):
    found = columns("loss=sgvb", "prior=mixture", swept=["prior"])
    assert {"prior", "prior.components"} <= set(found)
    assert {name.partition(".")[0] for name in found} == {"prior"}
    for swept in (["experiment"], ["model"], ["seed", "no.such.key"]):
        assert columns(swept=swept) == usual


def test_the_last_rate_is_the_one_that_was_set(tmp_path):
    logger = TensorBoard(str(tmp_path))
    for epoch, rate in enumerate((3e-3, 1e-3, 0.0)):
        logger.log_metrics({"lr": rate}, step=epoch)
    logger.log_results({"optimizer.lr": 3e-3}, {"test/nelbo": 100.0, "lr": 3e-3}, 3)
    found = EventAccumulator(str(tmp_path)).Reload().Scalars("lr")
    assert [event.value for event in found] == pytest.approx([3e-3, 1e-3, 0.0, 3e-3])


class Kept(Callback):
    """Saves a checkpoint at the end of one epoch."""

    def __init__(self, file, epoch):
        self.file, self.epoch = file, epoch

    def on_train_epoch_end(self, trainer, pl_module):  # noqa: ARG002
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.file)


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_run_that_continues_from_an_older_checkpoint_shows_each_epoch_once(tmp_path, small_data, epoch):
    file, folder = tmp_path / "older.ckpt", tmp_path / "run"
    first = TensorBoard(str(folder))
    first.log_config("seed: 0\n")
    callbacks = [Kept(file, epoch)]
    trainer(folder, max_epochs=3, logger=first, callbacks=callbacks).fit(small_training(), small_data)
    first.close()
    again = TensorBoard(str(folder))
    fit = trainer(folder, max_epochs=4, logger=again)
    fit.fit(small_training(), small_data, ckpt_path=file, weights_only=True)
    again.close()
    events = EventAccumulator(str(folder)).Reload()
    for name in ("train/nelbo", "val/nelbo", "lr"):
        assert [event.step for event in events.Scalars(name)] == [0, 1, 2, 3]
    assert len(events.Tensors("config/text_summary")) == 1


@pytest.mark.usefixtures("small_files")
def test_a_failed_run_leaves_no_thread(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = threading.active_count()
    answer = call("-m", *TINY, "optimizer.lr=1e30,1e31", "sweep_dir=sweep")
    assert answer.code == 1
    assert "2 failed" in answer.err
    assert threading.active_count() == before


def test_a_whole_run_is_one_row_of_the_table(tiny_run):
    from tensorboard.plugins.hparams import metadata

    events = EventAccumulator(str(tiny_run)).Reload()
    content = events.SummaryMetadata(metadata.SESSION_START_INFO_TAG).plugin_data.content
    found = metadata.parse_session_start_info_plugin_data(content).hparams
    config = OmegaConf.load(tiny_run / "config.yaml")
    assert {"prior.components", "likelihood.scale", "scheduler.warmup_steps"} <= set(found)
    assert events.Scalars("lr")[-1].value == pytest.approx(config.optimizer.lr)
