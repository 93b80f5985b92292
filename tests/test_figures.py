"""Figures say what they show: axes, units, names, legends; nothing is cut off."""

import pytest
import torch

from helpers import assert_nothing_is_cut_off
from vae_lab.evaluation.bounds import Bounds
from vae_lab.figures import images as figures

HISTORY = [
    {"epoch": i, **{f"{p}/{t}": 100.0 / (i + 1) for p in ("train", "val") for t in ("nelbo", "kl", "reconstruction")}}
    for i in range(5)
]


def made():
    x = torch.rand(6, 1, 28, 28)
    return {
        "reconstructions": figures.reconstructions(x, x),
        "samples": figures.samples(x, columns=3),
        "interpolation": figures.interpolation(torch.rand(11, 2, 1, 28, 28), ["0 → 1", "2 → 3"]),
        "one step": figures.interpolation(torch.rand(1, 2, 1, 28, 28), ["0 → 1", "2 → 3"]),
        "latent_grid": figures.latent_grid(torch.rand(4, 4, 1, 28, 28), 2.0, ("z₁", "z₂")),
        "one code": figures.latent_grid(torch.rand(1, 1, 1, 28, 28), 2.0, ("z₁", "z₂")),
        "latent_scatter": figures.latent_scatter(torch.randn(50, 2), torch.arange(50) % 10, ("z₁", "z₂")),
        "nelbo": figures.nelbo_by_epoch(HISTORY),
        "bounds": figures.bounds_of_images(Bounds(*(50 + 5 * torch.rand(4, 30))), 100),
        "no epochs": figures.nelbo_by_epoch([]),
    }


@pytest.mark.parametrize("name", made())
def test_nothing_is_cut_off(name):
    assert_nothing_is_cut_off(made()[name])


def test_plots_have_axes_with_units_and_legends():
    drawn = made()
    for axes, term in zip(drawn["nelbo"].axes, ("NELBO", "reconstruction", "KL"), strict=True):
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel() == f"{term} / nats per image"
    names = [text.get_text() for text in drawn["nelbo"].axes[0].get_legend().get_texts()]
    assert names == ["training", "validation"]
    labels = [text.get_text() for text in drawn["latent_scatter"].axes[0].get_legend().get_texts()]
    assert labels == [str(i) for i in range(10)]
    assert drawn["interpolation"].axes[0].get_xlabel() == "α"


def test_tile_lays_rows_out_in_order():
    images = torch.arange(6.0).view(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    picture = figures.tile(images, gap=1)
    assert picture.shape == (9, 14)
    assert picture[0, 0] == 0
    assert picture[0, 13] == 2
    assert picture[8, 0] == 3
    assert (picture[4] == 0).all()


def test_the_grids_ticks_point_at_the_codes():
    figure = figures.latent_grid(torch.rand(5, 5, 1, 28, 28), 2.0, ("z₁", "z₂"))
    left, right, _, _ = figure.axes[0].get_images()[0].get_extent()
    centres = [left + (right - left) * (i + 0.5) / 5 for i in range(5)]
    assert centres == pytest.approx([-2, -1, 0, 1, 2])
