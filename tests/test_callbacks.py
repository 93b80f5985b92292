"""Figures are drawn when asked, into files, and leave the training alone."""

import logging
from types import SimpleNamespace

import pytest
import torch
from lightning import Callback
from matplotlib.image import imread
from torch.distributions import Independent, Normal

from helpers import assert_nothing_is_cut_off, small_vae, trainer
from vae_lab.errors import NotOffered
from vae_lab.figures import curves, images
from vae_lab.losses import KL
from vae_lab.models import Model
from vae_lab.training import callbacks
from vae_lab.training.loggers import TensorBoard
from vae_lab.training.module import Training
from vae_lab.training.progress import Clock

FIGURES = [
    callbacks.Reconstructions,
    callbacks.PriorSamples,
    callbacks.LatentGrid,
    callbacks.Interpolation,
    callbacks.LatentScatter,
    callbacks.Traversals,
    callbacks.KLByDimension,
    callbacks.NelboByEpoch,
]


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_every_figure_is_drawn_at_the_end_for_every_latent_size(tmp_path, small_data, latent_dim):
    drawn = [kind() for kind in FIGURES]
    fit = trainer(tmp_path, callbacks=drawn)
    model = Training(small_vae(latent_dim), KL())
    fit.fit(model, small_data)
    assert not (tmp_path / "figures").exists()
    fit.test(model, small_data, verbose=False)
    files = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert files == sorted(f"{callback.name}.png" for callback in drawn)
    for file in files:
        picture = imread(tmp_path / "figures" / file)
        assert picture[..., :3].std() > 0.01, f"{file} is empty"


class Unlabelled:
    """Colour images without labels, as a data module has them."""

    labels = None
    test_images, test_labels = torch.rand(7, 3, 48, 40), torch.zeros(7, dtype=torch.long)


class Repeating(Model):
    """A model whose codes are two pixels, and whose images are the code in every pixel."""

    def infer(self, x):
        return x

    def codes_of(self, inferred):
        return inferred[:, 0, 0, :2]

    def draw_codes(self, n):
        return torch.rand(n, 2)

    def images_given(self, z):
        mean = z.sum(-1)[..., None, None, None].expand(*z.shape[:-1], *self.image_shape)
        return Independent(Normal(mean, 1.0), 3)


@pytest.mark.parametrize(
    "kind", [kind for kind in (*FIGURES, callbacks.RealImages) if kind is not callbacks.KLByDimension]
)
def test_every_figure_is_drawn_of_colour_images_without_labels(kind):
    figure = kind().draw(Repeating((3, 48, 40)), Unlabelled())
    assert_nothing_is_cut_off(figure)
    assert figure.axes[0].get_legend() is None


def test_walks_join_the_first_images_where_there_are_no_labels():
    model, ends = Repeating((3, 48, 40)), []
    model.interpolate = lambda x1, x2, steps: ends.append((x1, x2)) or torch.rand(steps, *x1.shape)
    callbacks.Interpolation(pairs=4).draw(model, Unlabelled())
    x = Unlabelled.test_images
    torch.testing.assert_close(ends[0], (x[[0, 2, 4, 6]], x[[1, 3, 5, 0]]))


def test_walks_may_join_draws_of_the_prior():
    model = Repeating((3, 48, 40))
    model.draw_codes = lambda n: torch.arange(2.0 * n).view(n, 2) / 24
    figure = callbacks.Interpolation(pairs=3, steps=2, between="prior_draws").draw(model, Unlabelled())
    picture = torch.as_tensor(figure.axes[0].get_images()[0].get_array())
    corners = picture[:: 48 + images.GAP, :: 40 + images.GAP, 0]
    torch.testing.assert_close(corners, torch.tensor([[1.0, 13.0], [5.0, 17.0], [9.0, 21.0]]) / 24)


def test_what_a_model_does_not_offer_is_left_out_with_one_line(tmp_path, small_data, caplog):
    model = small_vae(latent_dim=3)
    model.codes_of = lambda _: (_ for _ in ()).throw(NotOffered("it has no codes"))
    drawn = [callbacks.LatentGrid(every_n_epochs=1), callbacks.PriorSamples(rows=2)]
    fit = trainer(tmp_path, callbacks=drawn)
    training = Training(model, KL())
    with caplog.at_level(logging.INFO, logger="vae_lab"):
        fit.fit(training, small_data)
        fit.test(training, small_data, verbose=False)
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["samples.png"]
    said = [record.getMessage() for record in caplog.records if "left out" in record.getMessage()]
    assert said == ["latent_grid: left out, it has no codes"]


@pytest.mark.parametrize("criterion", ["nelbo", "frechet_distance"])
def test_samples_at_improvements_follow_the_models_criterion(criterion):
    model, callback = Repeating((3, 48, 40)), callbacks.PriorSamples(at_improvements=True)
    model.criterion, model.history = criterion, [{"epoch": 0, f"val/{criterion}": 5.0}]
    for value, is_due in ((4.0, True), (5.0, False)):
        at = SimpleNamespace(callback_metrics={f"val/{criterion}": torch.tensor(value)}, current_epoch=1)
        assert callback.is_due(at, model) is is_due


def test_figures_during_training_come_every_n_epochs_and_change_nothing(tmp_path, small_data):
    def end(*drawn):
        torch.manual_seed(3)
        model = small_vae()
        trainer(tmp_path, max_epochs=4, callbacks=list(drawn)).fit(Training(model, KL()), small_data)
        return model.history

    plain = end()
    drawn = end(callbacks.PriorSamples(every_n_epochs=2), callbacks.LatentGrid(n=3, every_n_epochs=4))
    assert drawn == plain
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["latent_grid_epoch_0004.png", "samples_epoch_0002.png", "samples_epoch_0004.png"]


def test_the_nelbo_during_training_is_drawn_up_to_its_epoch(tmp_path, small_data, monkeypatch):
    lengths = []
    draw = curves.by_epoch
    monkeypatch.setattr(curves, "by_epoch", lambda history, *rest: lengths.append(len(history)) or draw(history, *rest))
    model, callback = Training(small_vae(), KL()), callbacks.NelboByEpoch(every_n_epochs=2)
    fit = trainer(tmp_path, max_epochs=5, callbacks=[callback])
    fit.fit(model, small_data)
    fit.test(model, small_data, verbose=False)
    assert lengths == [2, 4, 5]
    names = sorted(path.name for path in (tmp_path / "figures").iterdir())
    assert names == ["nelbo.png", "nelbo_epoch_0002.png", "nelbo_epoch_0004.png"]


def test_the_clock_adds_the_validations_up(tmp_path, small_data):
    clock, seconds = Clock(), []

    class Witness(Callback):
        def on_validation_end(self, *_):
            seconds.append(clock.time_elapsed("validate"))

    trainer(tmp_path, max_epochs=3, callbacks=[clock, Witness()]).fit(Training(small_vae(), KL()), small_data)
    assert len(seconds) == 3
    assert clock.validation == pytest.approx(sum(seconds))
    again = Clock()
    again.load_state_dict(clock.state_dict())
    assert again.validation == clock.validation


def test_the_same_model_draws_the_same_figure(tmp_path, small_data):
    model = Training(small_vae(), KL())
    pictures = []
    for run in ("a", "b"):
        torch.rand(3)
        trainer(tmp_path / run, callbacks=[callbacks.PriorSamples()]).test(model, small_data, verbose=False)
        pictures.append((tmp_path / run / "figures" / "samples.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_best_and_last_checkpoints(tmp_path, small_data):
    model = small_vae()
    kept = [callbacks.BestCheckpoint(), callbacks.LastCheckpoint()]
    fit = trainer(tmp_path, max_epochs=3, callbacks=kept, enable_checkpointing=True)
    fit.fit(Training(model, KL()), small_data)
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

    model = Training(small_vae(), KL())
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
