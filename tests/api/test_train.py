"""Training from Python: the command line's config, a run as its result, and nothing left behind in the process."""

import logging
import signal
import threading
import warnings
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

import vae_lab
from helpers import TINY, call
from vae_lab.api.words import words_of
from vae_lab.errors import ConfigError, NotOffered, RunFolderError, UserError
from vae_lab.runs.folder import RunFolder

FEW = [word for word in TINY if not word.startswith(("latent_dim", "trainer.max_epochs"))]


@pytest.fixture
def here(small_files, tmp_path, monkeypatch) -> Path:  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_call_composes_what_the_command_line_composes(here):
    run = vae_lab.train(*FEW, "hydra.run.dir=of_call", prior="mixture", loss="sgvb", latent_dim=3, max_epochs=1)
    answer = call(*FEW, "hydra.run.dir=typed", "prior=mixture", "loss=sgvb", "latent_dim=3", "trainer.max_epochs=1")
    assert answer.code == 0, answer.err
    config, typed = (RunFolder(here / name).read_plain_config() for name in ("of_call", "typed"))
    assert {**config, "threads": 1, "matmul": ""} == {**typed, "threads": 1, "matmul": ""}
    assert run.metrics["test/nelbo"] == pytest.approx(RunFolder("typed").read_metrics()["test/nelbo"], rel=1e-4)


def test_a_call_prints_nothing_and_leaves_the_process_as_it_was(here, capfd):
    def state():
        lightning = logging.getLogger("lightning")
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
        loggers = [logging.getLogger(name).handlers[:] for name in (None, "vae_lab", "lightning")]
        return GlobalHydra.instance().hydra, HydraConfig.instance().cfg, handlers, loggers, lightning.level

    before = state(), warnings.filters[:], torch.get_num_threads()
    runs = [vae_lab.train(*FEW, latent_dim=2, max_epochs=1, seed=seed) for seed in (0, 1)]
    assert (state(), warnings.filters[:], torch.get_num_threads()) == before
    assert capfd.readouterr() == ("", "")
    assert runs[0].folder != runs[1].folder
    assert "epoch 1/1" in (runs[0].folder / "run.log").read_text()
    assert "test NELBO" in repr(runs[1])
    assert here in runs[0].folder.parents


def test_a_run_gives_its_model_its_figures_and_its_pictures(here):
    pandas = pytest.importorskip("pandas")
    run = vae_lab.train(*FEW, latent_dim=2, max_epochs=2)
    assert run.model.sample(3).shape == (3, 1, 28, 28)
    assert list(run.history.index) == [1, 2]
    assert run.history["val/nelbo"].min() == pytest.approx(run.metrics["best/val/nelbo"])
    grid = run.figures.grid(n=3)
    assert grid._repr_png_().startswith(b"\x89PNG")
    grid.savefig(here / "grid.png")
    table = vae_lab.runs(here / "outputs" / "runs")
    assert isinstance(table, pandas.DataFrame)
    assert table["test/nelbo"].tolist() == [pytest.approx(run.metrics["test/nelbo"])]


def test_a_run_of_another_day_is_opened_again(tiny_run, small_files):  # noqa: ARG001
    run = vae_lab.TrainedRun(tiny_run)
    for name in ("grid", "scatter", "samples", "reconstructions", "interpolation", "nelbo", "real_images"):
        assert getattr(run.figures, name)().axes, name
    with pytest.raises(NotOffered):
        run.figures.ladder_samples()
    for settings, said in (
        ({"n": 0}, "latent_grid.n=0"),
        ({"m": 3}, "no such argument"),
        ({"every_n_epochs": 2}, "for training"),
    ):
        with pytest.raises(ConfigError, match=said):
            run.figures.grid(**settings)
    (tiny_run / "metrics.json").unlink()
    with pytest.raises(RunFolderError, match="no finished run"):
        vae_lab.TrainedRun(tiny_run)


@pytest.mark.parametrize(
    ("words", "settings", "said"),
    [
        ((), {"max_epoch": 3}, "max_epoch=3: there is no such key, did you mean trainer.max_epochs?"),
        ((), {"epochs": 3}, "did you mean trainer.max_epochs?"),
        ((), {"beta": 3}, "did you mean loss.coeff?"),
        ((), {"coeff": 3, "loss": "iwae"}, "no such key here: loss.coeff is of loss=kl or sgvb"),
        ((), {"n": 3}, "there are .* keys of this name; give one as a word, 'callbacks"),
        ((), {"prior": "mix"}, "prior=mix: there is no such choice"),
        ((), {"latent_dim": "two"}, "latent_dim=two: must be a valid integer"),
        ((), {"latent_dim": object()}, "must be a text, a number or a list"),
        ((), {"lr": float("nan")}, "must be a text, a number"),
        ((), {"task": "evaluate", "run_dir": "x"}, "run_dir=x: there is no such folder"),
        ((), {"task": "estimator_check"}, "this call trains"),
        (("-m",), {}, "words of the command line"),
        (("--seed=1",), {}, "a call makes one run"),
        (("prior",), {}, "words of the command line"),
        (({"prior": "vamp"},), {}, "words of the command line"),
        (("seed=1,2",), {}, "sweep"),
    ],
)
def test_a_mistake_is_one_clear_error(here, words, settings, said, capfd):
    with pytest.raises(UserError, match=said) as raised:
        vae_lab.train(*words, **settings)
    assert "\n" not in str(raised.value)
    assert capfd.readouterr() == ("", "")
    assert not list(here.iterdir())
    assert not GlobalHydra.instance().is_initialized()


def test_keywords_become_words():
    settings = {"prior": "vamp", "hidden_dims": (8, 4), "batch_size": 64, "lr": 1e-5, "data.root": Path("a b,c")}
    assert words_of(["seed=3"], settings | {"samples": 2, "limit_val_batches": 0.5}) == [
        *("seed=3", "prior=vamp", "hidden_dims=[8,4]", "data.root='a b,c'", "data.batch_size=64", "optimizer.lr=1e-05"),
        *("loss.samples=2", "trainer.limit_val_batches=0.5"),
    ]
    assert words_of([], {"prior": "mixture", "components": 5})[1] == "prior.components=5"
    with pytest.raises(ConfigError, match="no such key"):
        words_of([], {"components": 5})


@pytest.mark.usefixtures("here")
def test_a_call_works_in_a_thread_and_inside_another_hydra_program():
    found = []
    other = GlobalHydra.instance().hydra = object()
    try:
        thread = threading.Thread(target=lambda: found.append(vae_lab.train(*FEW, latent_dim=2, max_epochs=1)))
        thread.start()
        thread.join()
        assert GlobalHydra.instance().hydra is other
    finally:
        GlobalHydra.instance().clear()
    assert found[0].metrics["epochs"] == 1


def test_an_interruption_is_one_and_says_how_to_continue(here, monkeypatch):
    monkeypatch.setattr(
        "vae_lab.training.progress.EpochLines.on_train_end", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    with pytest.raises(KeyboardInterrupt, match=r'vae_lab.train\("resume=') as raised:
        vae_lab.train(*FEW, "hydra.run.dir=cut", latent_dim=2, max_epochs=2)
    assert str(here / "cut") in str(raised.value)
    monkeypatch.undo()


def test_help_names_what_a_person_uses():
    import pydoc

    text = pydoc.render_doc(vae_lab, renderer=pydoc.plaintext)
    for name in ("train(", "load(", "class TrainedRun", "class VAE", "class Training", "vae_lab.runs(", "export("):
        assert name in text, name
    assert (Path(vae_lab.__file__).parent / "py.typed").exists()
