"""Figures are drawn when asked, into files, and leave the training alone."""

import pytest
import torch
from lightning import Callback
from matplotlib.image import imread

from helpers import small_vae, trainer
from vae_lab.figures import images as figures
from vae_lab.training import callbacks
from vae_lab.training.loggers import TensorBoard

FIGURES = [
    callbacks.Reconstructions,
    callbacks.PriorSamples,
    callbacks.LatentGrid,
    callbacks.Interpolation,
    callbacks.LatentScatter,
    callbacks.NelboByEpoch,
]


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_every_figure_is_drawn_at_the_end_for_every_latent_size(tmp_path, small_data, latent_dim):
    drawn = [kind() for kind in FIGURES]
    fit = trainer(tmp_path, callbacks=drawn)
    model = small_vae(latent_dim)
    fit.fit(model, small_data)
    assert not (tmp_path / "figures").exists()
    fit.test(model, small_data, verbose=False)
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files == sorted(f"{callback.name}.png" for callback in drawn)
    for file in files:
        picture = imread(tmp_path / "figures" / file)
        assert picture[..., :3].std() > 0.01, f"{file} is empty"


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_plane_of_one_axis_still_has_points(latent_dim):
    means = torch.zeros(50, latent_dim)
    means[:, 0] = torch.randn(50)
    model = small_vae(latent_dim)
    model.encode = lambda _: means
    figure = callbacks.LatentScatter().draw(model, torch.zeros(50, 1, 28, 28), torch.zeros(50, dtype=torch.long))
    points = figure.axes[0].collections[0].get_offsets()
    assert len(points) == 50
    assert bool(abs(points).max() < 100)


def test_figures_during_training_come_every_n_epochs_and_change_nothing(tmp_path, small_data):
    def end(*drawn):
        torch.manual_seed(3)
        model = small_vae()
        trainer(tmp_path, max_epochs=4, callbacks=list(drawn)).fit(model, small_data)
        return model.history

    plain = end()
    drawn = end(callbacks.PriorSamples(every_n_epochs=2), callbacks.LatentGrid(n=3, every_n_epochs=4))
    assert drawn == plain
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["latent_grid_epoch_0004.png", "samples_epoch_0002.png", "samples_epoch_0004.png"]


def test_the_nelbo_during_training_is_drawn_up_to_its_epoch(tmp_path, small_data, monkeypatch):
    lengths = []
    draw = figures.nelbo_by_epoch
    monkeypatch.setattr(figures, "nelbo_by_epoch", lambda history: lengths.append(len(history)) or draw(history))
    model, callback = small_vae(), callbacks.NelboByEpoch(every_n_epochs=2)
    fit = trainer(tmp_path, max_epochs=5, callbacks=[callback])
    fit.fit(model, small_data)
    fit.test(model, small_data, verbose=False)
    assert lengths == [2, 4, 5]
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["nelbo.png", "nelbo_epoch_0002.png", "nelbo_epoch_0004.png"]


def test_the_clock_adds_the_validations_up(tmp_path, small_data):
    clock, seconds = callbacks.Clock(), []

    class Witness(Callback):
        def on_validation_end(self, *_):
            seconds.append(clock.time_elapsed("validate"))

    trainer(tmp_path, max_epochs=3, callbacks=[clock, Witness()]).fit(small_vae(), small_data)
    assert len(seconds) == 3
    assert clock.validation == pytest.approx(sum(seconds))
    again = callbacks.Clock()
    again.load_state_dict(clock.state_dict())
    assert again.validation == clock.validation


def test_the_same_model_draws_the_same_figure(tmp_path, small_data):
    model = small_vae()
    pictures = []
    for run in ("a", "b"):
        torch.rand(3)
        trainer(tmp_path / run, callbacks=[callbacks.PriorSamples()]).test(model, small_data, verbose=False)
        pictures.append((tmp_path / run / "figures" / "samples.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_the_plane_spans_the_leading_axes():
    spread = torch.tensor([0.1, 3.0, 0.5, 2.0])
    means = torch.randn(5000, 4) * spread + 1
    centre, axes, _ = callbacks.latent_plane(means)
    torch.testing.assert_close(centre, torch.ones(4), atol=0.2, rtol=0)
    torch.testing.assert_close(axes.norm(dim=1), torch.tensor([3.0, 2.0]), rtol=0.05, atol=0)
    assert axes[0].abs().argmax() == 1
    assert axes[1].abs().argmax() == 3
    assert axes.gather(1, axes.abs().argmax(1, keepdim=True)).min() > 0


def test_best_and_last_checkpoints(tmp_path, small_data):
    model = small_vae()
    kept = [callbacks.BestCheckpoint(), callbacks.LastCheckpoint()]
    fit = trainer(tmp_path, max_epochs=3, callbacks=kept, enable_checkpointing=True)
    fit.fit(model, small_data)
    files = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert files == ["best.ckpt", "last.ckpt"]
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    lowest = min(range(3), key=lambda i: model.history[i]["val/nelbo"])
    assert best["epoch"] == lowest
    assert last["epoch"] == 2
    assert last["history"] == model.history


def test_tensorboard_gets_the_pictures(tmp_path, small_data):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = small_vae()
    logger = TensorBoard(str(tmp_path))
    fit = trainer(tmp_path, logger=logger, callbacks=[callbacks.PriorSamples()])
    fit.fit(model, small_data)
    fit.test(model, small_data, verbose=False)
    logger.experiment.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert events.Tags()["images"] == ["figures/samples"]
    scalars = events.Tags()["scalars"]
    assert {"train/nelbo", "val/nelbo", "train/kl", "val/reconstruction", "lr"} <= set(scalars)
    assert [event.step for event in events.Scalars("val/nelbo")] == [0, 1]
    assert len(list(tmp_path.glob("events*"))) == 1
