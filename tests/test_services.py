"""Loggers of other tools get settings, figures by epoch, pictures and results, and keep them in the run folder."""

import sqlite3
import sys
import tomllib
from pathlib import Path

import pytest
from lightning.pytorch.loggers import Logger

from helpers import TINY, call
from vae_lab.errors import EXTRAS
from vae_lab.training import loggers

ROOT = Path(__file__).parents[1]
SERVICES = ("wandb", "mlflow", "trackio")


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch, small_files):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    for name in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # which the logger sets, for the rest of the process


class Fake(Logger):
    """A logger of somebody's own that can take images, without a folder."""

    name, version = "fake", ""
    said: list = []  # noqa: RUF012  of the last run

    def __init__(self, colour: str = "blue") -> None:
        super().__init__()
        type(self).said = [("made", colour)]

    def log_hyperparams(self, params, *args, **kwargs):  # noqa: ARG002
        self.said.append(("settings", params))

    def log_metrics(self, metrics, step=None):
        self.said.append(("metrics", step, metrics))

    def log_image(self, key, images, step=None):
        self.said.append(("image", key, step, images))


def test_a_logger_of_a_person_s_own_gets_settings_figures_of_each_epoch_and_pictures(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tests"))
    monkeypatch.setitem(sys.modules, "own_loggers", sys.modules[__name__])
    answer = call(*TINY, "logger=csv", "+logger.own={_target_: own_loggers.Fake, colour: red}", "hydra.run.dir=run")
    assert answer.code == 0, answer.err
    assert Fake.said[0] == ("made", "red")
    (settings,) = [said[1] for said in Fake.said if said[0] == "settings"]
    assert settings["optimizer.lr"] == 0.003
    by_epoch = [
        (said[1], said[2]["train/nelbo"]) for said in Fake.said if said[0] == "metrics" and "train/kl" in said[2]
    ]
    assert [epoch for epoch, _ in by_epoch] == [0, 1]
    (image,) = [said for said in Fake.said if said[0] == "image"]
    assert image[1:3] == ("figures/nelbo", 2)
    (picture,) = image[3]
    assert picture.shape[2] == 3
    assert picture.dtype == "uint8"
    assert (tmp_path / "run" / "metrics.csv").is_file()


@pytest.mark.parametrize("service", SERVICES)
def test_a_missing_package_is_one_line_that_names_the_extra(tmp_path, monkeypatch, service):
    monkeypatch.setitem(sys.modules, service, None)  # as if it were not installed
    answer = call(*TINY, f"logger={service}")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith(f"vae_lab: logger.{service}=")
    assert f"pip install 'vae_lab[{service}]'" in line
    assert not (tmp_path / "outputs").exists()


def test_every_extra_that_a_message_names_installs_its_package():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for package, extra in EXTRAS.items():
        assert any(needed.startswith(package) for needed in extras[extra])


def run_with(service, *overrides):
    """A run with a logger, in the folder ``a=1,b``; nothing lies beside it."""
    answer = call(*TINY, f"logger={service}", "hydra.run.dir=a=1,b", *overrides)
    assert answer.code == 0, answer.err
    assert [path.name for path in Path.cwd().iterdir()] == ["a=1,b"]
    assert not [path for path in Path("a=1,b").rglob("*") if path.is_symlink()]
    return Path("a=1,b")


def test_wandb_keeps_a_run_offline(tmp_path):  # noqa: ARG001
    pytest.importorskip("wandb")
    folder = run_with("wandb", "logger.wandb.offline=true")
    (run,) = (folder / "wandb").glob("offline-run-*")
    assert run.name.endswith((folder / ".wandb_id").read_text().strip())
    content = next(run.glob("*.wandb")).read_bytes()
    for text in (b"a=1,b", b"optimizer.lr", b"val/nelbo", b"best/nelbo"):
        assert text in content
    assert [file.name.partition("_")[0] for file in run.rglob("*.png")] == ["nelbo"]
    assert sys.modules["wandb"].run is None


def test_mlflow_keeps_a_run_in_a_store_of_files(tmp_path):
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    folder = run_with("mlflow")
    client = MlflowClient((tmp_path / folder / "mlruns").as_uri())
    run = client.get_run((folder / ".mlruns_id").read_text().strip())
    assert (run.info.run_name, run.info.status) == ("a=1,b", "FINISHED")
    assert run.data.params["optimizer.lr"] == "0.003"
    assert {"test/nelbo", "best/nelbo"} <= set(run.data.metrics)
    history = client.get_metric_history(run.info.run_id, "val/nelbo")
    assert [metric.step for metric in history] == [0, 1]
    pictures = [file.path for file in client.list_artifacts(run.info.run_id, "images") if file.path.endswith("png")]
    assert len(pictures) == 1
    assert "nelbo" in pictures[0]


def test_trackio_keeps_a_run(tmp_path):  # noqa: ARG001
    pytest.importorskip("trackio")
    folder = run_with("trackio")
    with sqlite3.connect(folder / "trackio" / "vae_lab.db") as database:
        names = database.execute("select distinct run_name from metrics").fetchall()
        rows = database.execute("select step, metrics from metrics order by step").fetchall()
        config = database.execute("select config from configs").fetchall()
    assert names == [("a=1,b",)]
    assert [step for step, metrics in rows if "val/nelbo" in str(metrics)] == [0, 1]
    assert any("test/nelbo" in str(metrics) and step == 2 for step, metrics in rows)
    assert "optimizer.lr" in str(config)
    assert len(list((folder / "trackio").rglob("*.png"))) == 1


def test_what_a_logger_cannot_take_is_left_out():
    loggers.show([loggers.CSV("nowhere")], "figures/samples", None, 0)
    assert not Path("nowhere").exists()
