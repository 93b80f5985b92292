"""A run folder is read back whole or refused with a line that names the file."""

import pytest
import torch
from omegaconf import OmegaConf

import vae_lab
from vae_lab.config.saved import read_config
from vae_lab.errors import NonFiniteError, RunFolderError
from vae_lab.runs.folder import RunFolder, is_finished

CONFIG = {
    "latent_dim": 2,
    "hidden_dims": [16],
    "seed": 0,
    "data": {"_target_": "vae_lab.data.MNISTDataModule"},
    "likelihood": {"_target_": "vae_lab.likelihoods.Bernoulli"},
    "encoder": {"_target_": "vae_lab.encoders.MLPEncoder", "latent_dim": 2, "hidden_dims": [16]},
    "decoder": {
        "_target_": "vae_lab.decoders.MLPDecoder",
        "latent_dim": 2,
        "hidden_dims": [16],
        "likelihood": {"_target_": "vae_lab.likelihoods.Bernoulli"},
    },
    "prior": {"_target_": "vae_lab.priors.StandardNormal", "latent_dim": 2},
    "loss": {"_target_": "vae_lab.losses.KL"},
    "optimizer": {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 1e-3, "weight_decay": 0.0},
    "scheduler": None,
    "trainer": {"_target_": "lightning.Trainer", "max_epochs": 1, "max_steps": -1},
}


@pytest.fixture
def folder(tmp_path):
    """A finished run, as small as can be."""
    from vae_lab.config.build import build_model

    made = RunFolder(tmp_path)
    made.write_config(OmegaConf.create(CONFIG))
    made.checkpoints.mkdir()
    model = build_model(read_config(made), (1, 28, 28))
    torch.save({"state_dict": model.state_dict(), "history": []}, made.best)
    return made


def test_load_gives_the_saved_model(folder):
    model = vae_lab.load(folder.path)
    saved = torch.load(folder.best, weights_only=True)["state_dict"]
    torch.testing.assert_close(dict(model.state_dict()), dict(saved))
    assert not model.training
    assert model.sample(3).shape == (3, 1, 28, 28)


def test_a_folder_can_be_moved(folder, tmp_path_factory):
    x = torch.rand(2, 1, 28, 28)
    before = vae_lab.load(folder.path).reconstruct(x)
    target = tmp_path_factory.mktemp("elsewhere") / "run"
    folder.path.rename(target)
    torch.testing.assert_close(vae_lab.load(target).reconstruct(x), before)
    target.rename(folder.path)


def test_metrics_are_read_back(folder):
    assert folder.read_metrics() == {}
    folder.write_metrics({"test/nelbo": 95.5})
    assert folder.read_metrics() == {"test/nelbo": 95.5}
    assert not list(folder.path.glob("*.part"))
    with pytest.raises(NonFiniteError, match=r"test/kl was not finite"):
        folder.write_metrics({"test/nelbo": 1.0, "test/kl": float("nan")})
    assert folder.read_metrics() == {"test/nelbo": 95.5}


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda f: f.config_file.unlink(), "no config.yaml"),
        (lambda f: f.config_file.write_text("a: [1"), "config.yaml: cannot be read"),
        (lambda f: f.config_file.write_text("- 1"), "config.yaml: cannot be read"),
        (lambda f: f.best.unlink(), "best.ckpt: there is no checkpoint; the run did not finish its first epoch"),
        (lambda f: (f.best.unlink(), f.metrics_file.touch()), "no checkpoint; put it back, the run is finished"),
        (lambda f: f.best.write_bytes(f.best.read_bytes()[:1000]), "best.ckpt: damaged"),
        (lambda f: f.best.write_bytes(b"hello"), "best.ckpt: damaged"),
        (lambda f: torch.save({"state_dict": {}, "history": []}, f.best), "best.ckpt: of another model"),
    ],
)
def test_what_is_missing_or_damaged_is_named(folder, damage, line):
    damage(folder)
    with pytest.raises(RunFolderError, match=line) as raised:
        vae_lab.load(folder.path)
    assert "\n" not in str(raised.value)


def test_an_epoch_without_validation_is_read_back(folder):
    (folder.path / "metrics.csv").write_text("epoch,train/nelbo,val/nelbo\n0,200.0,\n1,190.0,195.0\n")
    assert folder.read_history() == [
        {"epoch": 0, "train/nelbo": 200.0},
        {"epoch": 1, "train/nelbo": 190.0, "val/nelbo": 195.0},
    ]


@pytest.mark.parametrize(
    ("metrics", "finished"),
    [
        ({"test/nelbo": 95.5}, True),
        ({"best/nelbo": 95.5}, False),
        ({"criterion": "frechet_distance", "test/frechet_distance": 3.0}, True),
        ({"criterion": "frechet_distance", "test/nelbo": 95.5}, False),
    ],
)
def test_a_run_is_finished_once_the_figure_that_it_is_chosen_by_was_tested(metrics, finished):
    assert is_finished(metrics) == finished


@pytest.mark.parametrize("criterion", ["[]", "null", "1", '"a b"', '"\\n"'])
def test_a_criterion_is_a_name(folder, criterion):
    folder.metrics_file.write_text(f'{{"criterion": {criterion}, "test/nelbo": 1.0}}')
    with pytest.raises(RunFolderError, match=r"metrics\.json: damaged \(criterion is not a name\)"):
        folder.read_metrics()


def test_overrides_are_read_back(folder):
    assert folder.read_overrides() is None
    given = [
        "prior=mixture",
        "hidden_dims=[300,300]",
        "seed=null",
        "data.root=/it's: here",
        "experiment=é",
        "k=${seed}",
    ]
    folder.write_overrides(given)
    assert folder.read_overrides() == given
    folder.write_overrides([])
    assert folder.read_overrides() == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "seed: 0\n",
        "- seed=0\n- 1\n",
        "- [seed=0]\n",
        "- &a seed=0\n- *a\n",
        "- !!python/name:os.system ''\n",
        "[" * 5000,
        "- " + "9" * 5000,
        "- " + "x" * 2000,
        '- "seed=0\\e[2J"\n',
        "- " + "x" * 200_000,
        "- a\n---\n- b\n",
        "\x00",
    ],
)
def test_overrides_that_no_run_wrote_are_not_read(folder, text):
    folder.overrides_file.write_text(text)
    assert folder.read_overrides() is None


def test_a_folder_of_the_first_edition_is_read(folder):
    """It names classes where they were then, and has no model, no posterior, no image shape and no criterion."""
    old = CONFIG | {
        "scheduler": {"_target_": "vae_lab.schedulers.warmup_cosine", "_partial_": True},
        "callbacks": {"best": {"_target_": "vae_lab.callbacks.BestCheckpoint"}},
        "logger": {"csv": {"_target_": "vae_lab.loggers.CSV"}},
    }
    folder.config_file.write_text(OmegaConf.to_yaml(OmegaConf.create(old)))
    config = read_config(folder, with_loggers=True)
    assert config.scheduler._target_ == "vae_lab.training.schedulers.warmup_cosine"
    assert config.callbacks.best._target_ == "vae_lab.training.callbacks.BestCheckpoint"
    assert config.logger.csv._target_ == "vae_lab.training.loggers.CSV"
    assert vae_lab.load(folder.path).sample(3).shape == (3, 1, 28, 28)


def test_no_such_folder(tmp_path):
    with pytest.raises(RunFolderError, match="there is no such folder"):
        vae_lab.load(tmp_path / "nowhere")
