"""Figures say what they show: axes, units, names, legends; nothing is cut off, whatever the images' form."""

import pytest
import torch

from helpers import assert_nothing_is_cut_off
from vae_lab.figures import curves, images, latent, style
from vae_lab.models import Bounds

HISTORY = [
    {"epoch": i, **{f"{p}/{t}": 100.0 / (i + 1) for p in ("train", "val") for t in ("nelbo", "kl", "reconstruction")}}
    for i in range(5)
]
# a model whose criterion only validation has
ADVERSARIAL = [
    {"epoch": i, "train/n": 500.0, "lr": 0.1, "val/frechet_distance": 9.0 / (i + 1)}
    | {f"train/{name}": 1.0 * i for name in ("generator", "discriminator", "penalty")}
    for i in range(5)
]
SHAPES = {
    "grey": (1, 28, 28),
    "colour": (3, 48, 40),
    "wide": (2, 5, 300),
}
AXES = ("z₁", "z₂")
DIGITS = tuple(str(i) for i in range(10))
CLOTHES = ("T-shirt/top", "Trouser", "Ankle boot")


def of_images(shape):
    x = torch.rand(6, *shape)
    return {
        "reconstructions": images.reconstructions(x, x),
        "samples": images.samples(x, columns=3),
        "a row not full": images.samples(x, columns=4),
        "interpolation": images.interpolation(torch.rand(11, 2, *shape), ["0 → 1", "T-shirt/top → Ankle boot"]),
        "one step": images.interpolation(torch.rand(1, 2, *shape), []),
        "copies": images.copies(x, x),
        "layers of a ladder": images.layers(torch.rand(4, 6, *shape)),
        "grid": latent.grid(torch.rand(4, 4, *shape), 2.0, AXES),
        "one code": latent.grid(torch.rand(1, 1, *shape), 2.0, AXES),
    }


def of_numbers():
    points, labels = torch.randn(200, 2), torch.arange(200)
    return {
        "digits": latent.scatter(points, AXES, labels % 10, DIGITS),
        "clothes": latent.scatter(points, AXES, labels % 3, CLOTHES),
        "many labels": latent.scatter(points, AXES, labels % 40, [f"label {i}" for i in range(40)]),
        "too many labels": latent.scatter(points, AXES, labels, [f"label {i}" for i in range(200)]),
        "no labels": latent.scatter(points, AXES, None),
        "nelbo": curves.by_epoch(HISTORY, "nelbo"),
        "adversarial": curves.by_epoch(ADVERSARIAL, "frechet_distance"),
        "no epochs": curves.by_epoch([], "nelbo"),
        "no epochs of another": curves.by_epoch([], "frechet_distance"),
        "bounds": curves.bounds_of_images(Bounds(*(50 + 5 * torch.rand(4, 30))), 100),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_no_picture_is_cut_off_or_empty(tmp_path, shape):
    for name, figure in of_images(SHAPES[shape]).items():
        assert_nothing_is_cut_off(figure)
        assert style.render(figure, tmp_path / f"{name}.png").std() > 2.5, name


@pytest.mark.parametrize("name", of_numbers())
def test_no_plot_is_cut_off(name):
    assert_nothing_is_cut_off(of_numbers()[name])


def test_plots_have_axes_with_units_and_legends():
    drawn = of_numbers()
    for axes, term in zip(drawn["nelbo"].axes, ("NELBO", "reconstruction", "KL"), strict=True):
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel() == f"{term} / nats per image"
    assert legend(drawn["nelbo"].axes[0]) == ["training", "validation"]
    assert legend(drawn["digits"].axes[0]) == list(DIGITS)
    assert legend(drawn["clothes"].axes[0]) == list(CLOTHES)
    assert drawn["too many labels"].axes[0].get_legend() is None
    assert drawn["no labels"].axes[0].get_legend() is None
    assert len(drawn["no labels"].axes[0].collections[0].get_offsets()) == 200
    assert of_images(SHAPES["grey"])["interpolation"].axes[0].get_xlabel() == "α"


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_another_criterion_has_a_panel_for_each_figure_that_there_is():
    panels = of_numbers()["adversarial"].axes
    assert [axes.get_ylabel() for axes in panels] == ["Fréchet distance", "generator", "discriminator", "penalty"]
    assert [len(axes.lines) for axes in panels] == [1, 1, 1, 1]
    assert legend(panels[0]) == ["validation", "training"]
    assert panels[0].lines[0].get_color() != panels[1].lines[0].get_color()


def test_tile_lays_rows_out_in_order():
    squares = torch.arange(6.0).view(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 4) / 6
    picture = images.tile(squares, gap=1)
    assert picture.shape == (9, 14)
    assert picture[0, 0] == 0
    assert picture[0, 13] == pytest.approx(2 / 6)
    assert picture[8, 0] == pytest.approx(3 / 6)
    assert (picture[4] == 0).all()


def test_colours_stay_as_they_are_on_white():
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(2, 2, 3, 5, 4)
    picture = images.tile(red, gap=1)
    assert picture.shape == (11, 9, 3)
    assert picture[0, 0].tolist() == [1, 0, 0]
    assert (picture[5] == 1).all()


@pytest.mark.parametrize("shape", SHAPES.values())
def test_no_pixel_is_lost(shape):
    _, height, width = shape
    x = torch.rand(2, 7, *shape)
    across, down = images.size_of_each(x, 0.62)
    assert max(across, down) * style.DPI > max(height, width)
    assert down / across == pytest.approx(height / width)


def test_the_grids_ticks_point_at_the_codes():
    figure = latent.grid(torch.rand(5, 5, 1, 28, 28), 2.0, AXES)
    left, right, _, _ = figure.axes[0].get_images()[0].get_extent()
    centres = [left + (right - left) * (i + 0.5) / 5 for i in range(5)]
    assert centres == pytest.approx([-2, -1, 0, 1, 2])


def test_the_plane_spans_the_leading_axes():
    spread = torch.tensor([0.1, 3.0, 0.5, 2.0])
    codes = torch.randn(5000, 4) * spread + 1
    centre, axes, _ = latent.latent_plane(codes)
    torch.testing.assert_close(centre, torch.ones(4), atol=0.2, rtol=0)
    torch.testing.assert_close(axes.norm(dim=1), torch.tensor([3.0, 2.0]), rtol=0.05, atol=0)
    assert axes[0].abs().argmax() == 1
    assert axes[1].abs().argmax() == 3
    assert axes.gather(1, axes.abs().argmax(1, keepdim=True)).min() > 0


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_coordinates_are_the_inverse_of_the_grid(latent_dim):
    plane = latent.latent_plane(torch.randn(300, latent_dim, dtype=torch.float64))
    found = plane.coordinates(plane.square(3, 2.0))
    assert found[0, 0].tolist() == pytest.approx([-2, 2])
    assert found[2, 1].tolist() == pytest.approx([0, -2])


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_plane_of_one_axis_still_has_points(latent_dim):
    codes = torch.zeros(50, latent_dim)
    codes[:, 0] = torch.randn(50)
    points = latent.latent_plane(codes).coordinates(codes)
    assert points.shape == (50, 2)
    assert points.abs().max() < 100
