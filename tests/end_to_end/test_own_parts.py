"""Parts, optimisers, schedules, callbacks, loggers and data of other packages, named on the command line."""

import csv
import sys
from pathlib import Path

import hydra
import pytest
import yaml

import vae_lab
from helpers import TINY, call, small_vae, trainer
from vae_lab.config.build import build_training
from vae_lab.config.check import check
from vae_lab.config.replaced import leave_out_untaken
from vae_lab.paths import CONF
from vae_lab.runs.folder import RunFolder

MYLAB = """
import torch
from lightning import Callback, LightningDataModule
from lightning.pytorch.loggers import Logger
from torch.distributions import Independent, Laplace as TorchLaplace
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from vae_lab.annotations import Positive, Size
from vae_lab.data import ImageDataModule
from vae_lab.encoders import MLPEncoder
from vae_lab.priors import Prior


class Laplace(Prior):
    def __init__(self, latent_dim: Size, scale: Positive = 1.0) -> None:
        super().__init__()
        self.register_buffer("location", torch.zeros(latent_dim), persistent=False)
        self.scale = scale

    def forward(self):
        return Independent(TorchLaplace(self.location, self.scale, validate_args=False), 1)


class Encoder(MLPEncoder):
    pass


class Shells(ImageDataModule):
    def __init__(self, many: int = 120, **options):
        self.name, self.image_shape, self.labels, self.train_size = "shells", (3, 6, 5), ("a", "b"), many
        super().__init__(**options)

    def read(self):
        images = torch.randint(0, 256, (150, 3, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        labels = torch.arange(150) % 2
        return (images[:120], labels[:120]), (images[120:], labels[120:])


class Plain(LightningDataModule):
    pass


class Losses(Callback):
    seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(float(outputs["loss"]))


class Memory(Logger):
    name, version = "memory", "0"
    rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))

    def log_hyperparams(self, *args, **kwargs):
        pass


class Closure(SGD):
    def step(self, closure):
        return super().step(closure)


def halves(optimizer, total_steps: int, at: float = 0.5):
    return LambdaLR(optimizer, lambda step: 1.0 if step < at * total_steps else 0.1)
"""
PRIOR = "_target_: mylab.Laplace\nlatent_dim: ${latent_dim}\nscale: 1.0\n"


@pytest.fixture
def lab(tmp_path, monkeypatch, small_files):  # noqa: ARG001
    """Somebody's folder: a package, and configs that name its classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mylab.py").write_text(MYLAB)
    (tmp_path / "conf" / "prior").mkdir(parents=True)
    (tmp_path / "conf" / "prior" / "laplace.yaml").write_text(PRIOR)
    yield tmp_path
    sys.modules.pop("mylab", None)


def trained(*words: str, folder: str = "run") -> Path:
    answer = call(*words, *TINY, "callbacks.reconstructions=null", f"hydra.run.dir={folder}")
    assert answer.code == 0, answer.err
    return Path(folder)


def rates(run: Path) -> list[float]:
    return [float(row["lr"]) for row in csv.DictReader((run / "metrics.csv").read_text().splitlines())]


OPTIMIZERS = ["ASGD", "Adadelta", "Adafactor", "Adagrad", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]


def composed(*overrides: str):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [*overrides, *TINY])
    leave_out_untaken(config, overrides)
    check(config)
    return config


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_torchs_optimisers_train_and_what_they_do_not_take_is_left_out(small_data, tmp_path, name):
    config = composed(f"optimizer._target_=torch.optim.{name}", "optimizer.lr=1e-2", "scheduler=none")
    assert ("betas" in config.optimizer) == (name in ("Adamax", "NAdam", "RAdam"))
    model = small_vae()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer(tmp_path, max_epochs=1).fit(build_training(config, model), small_data)
    assert all((value != before[key]).any() for key, value in model.state_dict().items())


SCHEDULES = {
    "StepLR": (["+scheduler.step_size=1", "+scheduler.gamma=0.1"], [1e-3, 1e-4, 1e-5]),
    "ExponentialLR": (["+scheduler.gamma=0.5"], [1e-3, 5e-4, 2.5e-4]),
    "CosineAnnealingLR": (["+scheduler.T_max=2"], [1e-3, 5e-4, 0.0]),
    # no epoch is better by a million nats, so that the second and the third are each one too many
    "ReduceLROnPlateau": (
        ["+scheduler.patience=0", "+scheduler.threshold=1e6", "+scheduler.threshold_mode=abs"],
        [1e-3, 1e-3, 1e-4],
    ),
    # the top at the third of 6 steps, then down in equal parts to 4e-9 at the last; an epoch has 2
    "OneCycleLR": (
        ["+scheduler.max_lr=1e-3", "+scheduler.pct_start=0.5", "+scheduler.anneal_strategy=linear"],
        [1e-3, 4e-9 + (1e-3 - 4e-9) / 3, 4e-9],
    ),
    # 2 steps up, 2 down, and an epoch has 2
    "CyclicLR": (["+scheduler.base_lr=0.0", "+scheduler.max_lr=1e-3", "+scheduler.step_size_up=2"], [1e-3, 0.0, 1e-3]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_torchs_schedules_move_by_epoch_or_by_step(small_data, tmp_path, name):
    words, expected = SCHEDULES[name]
    config = composed(f"scheduler._target_=torch.optim.lr_scheduler.{name}", *words, "optimizer.lr=1e-3")
    training = build_training(config, small_vae())
    trainer(tmp_path, max_epochs=3, limit_train_batches=2).fit(training, small_data)
    assert [row["lr"] for row in training.model.history] == pytest.approx(expected, abs=1e-9)


REFUSED = {
    "optimizer._target_=torch.optim.LBFGS": "needs a closure",
    "optimizer._target_=torch.optim.SparseAdam": "sparse gradients only",
    "optimizer._target_=torch.optim.Muon": "Muon only supports 2D parameters",
    "optimizer._target_=mylab.Closure": "needs a closure",
    "optimizer._target_=torch.optim.Adamm": "torch.optim has no Adamm, did you mean Adam",
    "optimizer._target_=torch.optim.Optimizer": "must be a class derived from torch.optim.optimizer.Optimizer",
    "scheduler._target_=torch.optim.lr_scheduler.StepLR": "scheduler.step_size=None: must be given",
    "scheduler._target_=torch.optim.lr_scheduler.LambdaLR": "needs a function as lr_lambda",
    "scheduler._target_=torch.optim.lr_scheduler.SequentialLR": "needs other schedules as schedulers",
    "prior._target_=mylab.Encoder": "must be a class derived from vae_lab.priors.Prior",
    "prior._target_=mylab.Laplac": "mylab has no Laplac, did you mean Laplace?",
    "prior._target_=mylab.priors.Laplace": "mylab has no priors",
    "prior._target_=mylabs.Laplace": "Python finds no package mylabs; install it",
    "prior._target_=broken.Laplace": "broken cannot be imported: No module named 'nowhere'; pip install nowhere",
    "prior._target_=worse.Laplace": "worse cannot be imported (ZeroDivisionError: ",
    "prior._target_=Laplace": "must be a module and a class in it",
    "data._target_=mylab.Plain": "a LightningDataModule alone does not say",
    "+callbacks.a._target_=lightning.pytorch.callbacks.StochasticWeightAveraging": "WeightAveraging serves",
    "+callbacks.a._target_=lightning.pytorch.callbacks.BatchSizeFinder": "set batch_size of the data",
    "+callbacks.a._target_=mylab.Laplace": "must be a class derived from lightning.pytorch.callbacks.callback.Callback",
    "+logger.a._target_=mylab.Laplace": "must be a class derived from lightning.pytorch.loggers.logger.Logger",
    "+callbacks.a._target_=lightning.pytorch.callbacks.BackboneFinetuning": "no model here has a backbone",
    "trainer._target_=mylab.Laplace": "must be lightning.Trainer",
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_a_run_cannot_use_is_refused_before_it_with_the_reason(lab, word):
    (lab / "broken.py").write_text("import nowhere\n")
    (lab / "worse.py").write_text("1 / 0\n")
    before = sorted(lab.iterdir())
    answer = call(word, *TINY, "hydra.run.dir=run")
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert REFUSED[word] in answer.err
    assert word.lstrip("+").partition(".")[0] in answer.err
    assert [file for file in sorted(lab.iterdir()) if file.name != "__pycache__"] == before


@pytest.mark.usefixtures("lab")
def test_own_parts_of_every_kind_make_a_run_that_is_loaded_evaluated_and_repeated():
    words = ["--config-dir", "conf", "prior=laplace", "loss=sgvb", "encoder._target_=mylab.Encoder"]
    words += ["optimizer._target_=torch.optim.SGD", "+optimizer.momentum=0.9", "optimizer.lr=1e-3"]
    words += ["scheduler._target_=mylab.halves", "+scheduler.at=0.5"]
    words += ["data._target_=mylab.Shells", "data.validation=20", "+data.many=120", "likelihood=gaussian"]
    words += ["+callbacks.losses._target_=mylab.Losses", "+logger.memory._target_=mylab.Memory"]
    words += ["+callbacks.rate._target_=lightning.pytorch.callbacks.LearningRateMonitor"]
    run = trained(*words)
    mylab = sys.modules["mylab"]
    assert len(mylab.Losses.seen) == 4
    assert [step for step, row in mylab.Memory.rows if "train/nelbo" in row] == [0, 1]
    assert rates(run) == [pytest.approx(1e-4), pytest.approx(1e-4)]
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["image_shape"] == [3, 6, 5]
    assert saved["data"]["_target_"] == "mylab.Shells"
    assert saved["trust"] == []

    with pytest.raises(vae_lab.errors.RunFolderError, match=r"trust=\[mylab\]"):
        vae_lab.load(run)
    assert vae_lab.load(run, trust=["mylab"]).sample(2).shape == (2, 3, 6, 5)
    quick = ("trainer.accelerator=cpu", "evaluation.samples=none", "evaluation.k=2")
    answer = call("task=evaluate", "run_dir=run", *quick)
    assert (answer.code, "trust=[mylab]" in answer.err) == (2, True)
    answer = call("task=evaluate", "run_dir=run", "trust=[mylab]", *quick)
    assert answer.code == 0, answer.err

    again = trained("again=run", "trust=[mylab]", folder="again")
    assert RunFolder(again).read_metrics()["test/nelbo"] == RunFolder(run).read_metrics()["test/nelbo"]


@pytest.mark.usefixtures("lab")
def test_an_argument_that_the_file_of_the_choice_lacks_is_written_with_a_plus():
    answer = call("scheduler._target_=torch.optim.lr_scheduler.StepLR", "scheduler.step_size=3", *TINY)
    assert (answer.code, "write +scheduler.step_size=3" in answer.err) == (2, True)


@pytest.mark.usefixtures("lab")
def test_a_callback_that_logs_within_the_epochs_needs_a_logger_that_takes_it():
    rate = "+callbacks.rate._target_=lightning.pytorch.callbacks.LearningRateMonitor"
    answer = call(rate, "logger=csv", *TINY)
    assert (answer.code, "add logger=default" in answer.err) == (2, True)


@pytest.mark.usefixtures("lab")
def test_lightnings_own_checkpoints_lie_in_the_run_folder():
    words = ["ModelCheckpoint", "every_n_train_steps=2", "save_top_k=-1"]
    run = trained(
        *(f"+callbacks.mine.{word}" for word in [f"_target_=lightning.pytorch.callbacks.{words[0]}", *words[1:]])
    )
    names = {file.name for file in (run / "checkpoints").iterdir()}
    assert names == {"best.ckpt", "last.ckpt", "epoch=0-step=2.ckpt", "epoch=1-step=4.ckpt"}


@pytest.mark.parametrize("word", ["--config-dir conf", "hydra.searchpath=[file://conf]"])
@pytest.mark.usefixtures("lab")
def test_own_choices_are_in_the_help_and_completed_by_the_tab_key(monkeypatch, word):
    assert "prior: continuous_flow, flow, laplace, mixture" in call(*word.split(), "--help").out
    monkeypatch.setenv("COMP_LINE", f"vae_lab {word} prior=la")
    assert call("-sc", "query=bash").out.split() == ["prior=laplace"]


def test_a_file_of_a_search_path_that_ours_would_hide_is_refused(lab):
    (lab / "conf" / "prior" / "mixture.yaml").write_text(PRIOR)
    answer = call("hydra.searchpath=[file://conf]", "prior=mixture", *TINY)
    assert (answer.code, "vae_lab's own config of this name would be used" in answer.err) == (2, True)


FIGURES = """
from matplotlib.figure import Figure
from vae_lab.training.figures import FigureCallback

class Whole(FigureCallback):
    name = "mine"

    def draw(self, model, data):
        figure = Figure(figsize=(2, 2))
        figure.subplots().plot([0, 1])
        return figure

class Raises(Whole):
    name = "raises"

    def draw(self, model, data):
        return data.no_such_images

class Nothing(Whole):
    name = "nothing"

    def draw(self, model, data):
        super().draw(model, data)

class NoName(FigureCallback):
    def draw(self, model, data):
        return Figure()

class NoDraw(FigureCallback):
    name = "empty"
"""


def test_a_figure_of_ones_own_that_raises_is_left_out_with_its_line_and_the_run_ends_well(lab):
    (lab / "mylab.py").write_text(FIGURES)
    words = [f"+callbacks.{kind.lower()}._target_=mylab.{kind}" for kind in ("Raises", "Nothing", "Whole")]
    run = trained(*words)
    assert (run / "figures" / "mine.png").exists()
    assert (run / "metrics.json").exists()
    told = (run / "run.log").read_text()
    assert "raises: left out, raised AttributeError (" in told
    assert "in mylab.py, line 17, when it was drawn" in told
    assert "nothing: left out, raised TypeError (draw must return a matplotlib Figure" in told


@pytest.mark.parametrize(("kind", "lacks"), [("NoName", "has no name"), ("NoDraw", "has no draw(model, data)")])
def test_a_figure_of_ones_own_that_lacks_something_is_refused_before_the_run(lab, kind, lacks):
    (lab / "mylab.py").write_text(FIGURES)
    answer = call(*TINY, f"+callbacks.mine._target_=mylab.{kind}", "hydra.run.dir=run")
    assert answer.code == 2
    assert answer.err.startswith(f"vae_lab: callbacks={kind}: {lacks}")
    assert not (lab / "run").exists()


LOSSES = {
    "return x.sum()": "forward gave a Tensor, and must give a vae_lab.losses.Outcome",
    "return Outcome(x.flatten(1).sum(1), {})": "forward gave a loss of shape (2,), and must give one number",
    "return Outcome(x.sum(), {})": "forward gave a loss without a gradient",
    "return Outcome(next(model.parameters()).sum(), {'mine': x.sum()})": "forward gave a figure mine that is not one",
    "return x.no_such": "raised AttributeError ('Tensor' object has no attribute 'no_such') in mylab.py, line 5,",
}


@pytest.mark.parametrize("body", LOSSES)
def test_a_loss_of_ones_own_that_cannot_train_is_refused_before_the_run(lab, body):
    head = "from vae_lab.losses import Loss, Outcome\n\nclass Mine(Loss):\n"
    (lab / "mylab.py").write_text(
        f"{head}    def forward(self, model, x, weight=None, stage='model'):\n        {body}\n"
    )
    (lab / "conf" / "loss").mkdir()
    (lab / "conf" / "loss" / "mine.yaml").write_text("_target_: mylab.Mine\n")
    answer = call("--config-dir", "conf", "loss=mine", *TINY, "hydra.run.dir=run")
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert line.startswith("vae_lab: loss=Mine: ")
    assert LOSSES[body] in line
    assert not (lab / "run").exists()
