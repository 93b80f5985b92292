"""Figures say what they show: axes, units, names, legends; nothing is cut off, whatever the images' form."""

from functools import cache

import matplotlib
import pytest
import torch
from matplotlib.colors import to_rgb
from torch.distributions import Normal

from helpers import assert_nothing_is_cut_off
from vae_lab.errors import DiskError
from vae_lab.evaluation.kl_estimates import KLEstimates
from vae_lab.evaluation.sample_quality import relative_to_label
from vae_lab.figures import curves, images, latent, style
from vae_lab.models import Bounds

HISTORY = [
    {"epoch": i, **{f"{p}/{t}": 100.0 / (i + 1) for p in ("train", "val") for t in ("nelbo", "kl", "reconstruction")}}
    for i in range(5)
]
LONG = [row | {"epoch": i} for i in range(30) for row in HISTORY[min(i, 4) :][:1]]
ESTIMATES = KLEstimates(
    torch.tensor([1, 10, 100]),
    torch.tensor([3.0, 2.2, 2.0]),
    1 / torch.tensor([1.0, 10, 100]).sqrt(),
    2.05,
    "closed form",
)
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
ENDS = [("0\n#3", "1\n#2"), ("T-shirt/top\n#19", "Ankle boot\n#0")]
DIGITS = tuple(str(i) for i in range(10))
CLOTHES = ("T-shirt/top", "Trouser", "Ankle boot")


def of_images(shape):
    x = torch.rand(6, *shape)
    return {
        "reconstructions": images.reconstructions(x, x, torch.arange(6) * 40.0),
        "more than a row": images.reconstructions(*x.repeat(2, 3, 1, 1, 1), torch.arange(18)),
        "samples": images.samples(x, columns=3),
        "a row not full": images.samples(x, columns=4),
        "interpolation": images.interpolation(torch.rand(11, 2, *shape), "means", (x[:2], x[2:4]), ENDS),
        "one step": images.interpolation(torch.rand(1, 2, *shape)),
        "traversals": images.traversals(torch.rand(3, 11, *shape), ["z₁", "z₂", "z₃"], 3.0, "one code"),
        "copies": images.copies(x, x, torch.rand(6)),
        "layers of a ladder": images.layers(torch.rand(4, 6, *shape)),
        "grid": latent.grid(torch.rand(4, 4, *shape), latent.line_of(4, 2.0), AXES),
        "one code": latent.grid(torch.rand(1, 1, *shape), latent.line_of(1, 2.0), AXES),
    }


@cache
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
        "many epochs": curves.by_epoch(LONG, "nelbo"),
        "kl": latent.kl_of_dimensions([torch.rand(10)], ["z₁"], 100),
        "kl of a ladder": latent.kl_of_dimensions([torch.rand(8), torch.rand(64)], ["z₂", "z₁"], 100),
        "estimator": curves.estimate_by_samples(ESTIMATES),
        "discriminator": curves.outputs_of_discriminator(torch.randn(50), torch.randn(50) - 1),
        "bounds": curves.bounds_of_images(Bounds(*(50 + 5 * torch.rand(4, 30))), 100),
    }


@pytest.mark.parametrize("shape", SHAPES)
def test_no_picture_is_cut_off_or_empty(tmp_path, shape):
    for name, figure in of_images(SHAPES[shape]).items():
        assert_nothing_is_cut_off(figure)
        assert style.render(figure, tmp_path / f"{name}.png", dpi=60).std() > 2.5, name


def test_a_title_that_is_wider_than_its_figure_has_several_lines():
    x = torch.rand(5, 1, 28, 28)
    for figure in (images.reconstructions(x, x, torch.arange(5)), images.copies(x, x, torch.rand(5))):
        assert figure.get_figwidth() < 0.7 * style.TWO_COLUMNS
        assert_nothing_is_cut_off(figure)


def test_no_plot_is_cut_off():
    for name, figure in of_numbers().items():
        print(name)
        assert_nothing_is_cut_off(figure)


def test_plots_have_axes_with_units_and_legends():
    drawn = of_numbers()
    for axes, term in zip(drawn["nelbo"].axes, ("NELBO", "reconstruction", "KL"), strict=True):
        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel() == f"{term} / nats per image"
    assert legend(drawn["nelbo"]) == ["training", "validation", "best: 20.00 in epoch 5"]
    assert legend(drawn["digits"].axes[0]) == list(DIGITS)
    assert legend(drawn["clothes"].axes[0]) == list(CLOTHES)
    assert drawn["too many labels"].axes[0].get_legend() is None
    assert drawn["no labels"].axes[0].get_legend() is None
    assert len(drawn["no labels"].axes[0].collections[0].get_offsets()) == 200
    assert of_images(SHAPES["grey"])["interpolation"].axes[0].get_xlabel() == "α"


def curves_in(axes):
    return [line for line in axes.lines if line.get_label() in ("training", "validation")]


def legend(of):
    (found,) = getattr(of, "legends", None) or [of.get_legend()]
    return [text.get_text() for text in found.get_texts()]


def test_another_criterion_has_a_panel_for_each_figure_that_there_is():
    panels = of_numbers()["adversarial"].axes
    assert [axes.get_ylabel() for axes in panels] == ["Fréchet distance", "generator", "discriminator", "penalty"]
    assert [len(curves_in(axes)) for axes in panels] == [1, 1, 1, 1]
    assert legend(of_numbers()["adversarial"]) == ["validation", "best: 1.80 in epoch 5", "training"]
    assert panels[0].lines[0].get_color() != panels[1].lines[0].get_color()


def test_tile_lays_rows_out_in_order():
    squares = torch.arange(6.0).view(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 4) / 6
    picture = images.tile(squares, gap=1)
    assert picture.shape == (9, 14)
    assert picture[0, 0] == 0
    assert picture[0, 13] == pytest.approx(2 / 6)
    assert picture[8, 0] == pytest.approx(3 / 6)
    assert (picture[4] > 0.05).all()  # a line tells white images apart
    assert (images.tile(squares, line=0)[4] == 0).all()


def test_colours_stay_as_they_are_on_white():
    red = torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1).expand(2, 2, 3, 5, 4)
    picture = images.tile(red, gap=1)
    assert picture.shape == (11, 9, 3)
    assert picture[0, 0].tolist() == [1, 0, 0]
    assert (picture[5] < 0.95).all()
    assert (images.tile(red, line=0)[5] == 1).all()


@pytest.mark.parametrize("shape", SHAPES.values())
def test_no_pixel_is_lost(shape):
    _, height, width = shape
    x = torch.rand(2, 7, *shape)
    across, down = images.size_of_each(x, 0.62)
    assert max(across, down) * style.DPI > max(height, width)
    assert down / across == pytest.approx(height / width)


@pytest.mark.parametrize("spacing", ["linear", "quantiles"])
def test_the_grids_ticks_point_at_the_codes(spacing):
    line = latent.line_of(7, 2.0, spacing)
    axes = latent.grid(torch.rand(7, 7, 1, 28, 28), line, AXES).axes[0]
    left, right, _, _ = axes.get_images()[0].get_extent()
    middles = [left + (right - left) * (i + 0.5) / 7 for i in range(7)]
    named = {
        float(text.get_text().replace("−", "-")): place
        for place, text in zip(axes.get_xticks(), axes.get_xticklabels(), strict=True)
    }
    assert {-2.0, -1.0, 0.0, 1.0, 2.0} <= set(named)
    for value, place in named.items():
        i = max(0, int((line < value).sum()) - 1)
        share = (value - line[i]) / (line[i + 1] - line[i])
        assert place == pytest.approx(float(middles[i] + share * (middles[i + 1] - middles[i])), abs=1e-4)


def test_quantiles_have_the_same_probability_between_them():
    line = latent.line_of(9, 2.5, "quantiles").double()
    between = Normal(0.0, 1.0).cdf(line).diff()
    torch.testing.assert_close(between, between.mean().expand(8), rtol=1e-4, atol=0)
    torch.testing.assert_close(line[[0, -1]], torch.tensor([-2.5, 2.5], dtype=torch.float64), rtol=1e-5, atol=0)


def test_the_plane_spans_the_leading_axes():
    spread = torch.tensor([0.1, 3.0, 0.5, 2.0])
    codes = torch.randn(5000, 4) * spread + 1
    centre, axes, names = latent.latent_plane(codes)
    torch.testing.assert_close(centre, torch.ones(4), atol=0.2, rtol=0)
    torch.testing.assert_close(axes.norm(dim=1), torch.tensor([3.0, 2.0]), rtol=0.05, atol=0)
    assert axes[0].abs().argmax() == 1
    assert axes[1].abs().argmax() == 3
    assert axes.gather(1, axes.abs().argmax(1, keepdim=True)).min() > 0
    # 9 and 4 of 0.01 + 9 + 0.25 + 4
    assert ("68%" in names[0], "30%" in names[1]) == (True, True)


@pytest.mark.parametrize("latent_dim", [2, 5])
def test_coordinates_are_the_inverse_of_the_grid(latent_dim):
    plane = latent.latent_plane(torch.randn(300, latent_dim, dtype=torch.float64))
    found = plane.coordinates(plane.square(latent.line_of(3, 2.0)))
    assert found[0, 0].tolist() == pytest.approx([-2, 2])
    assert found[2, 1].tolist() == pytest.approx([0, -2])


@pytest.mark.parametrize("latent_dim", [1, 3])
def test_a_plane_of_one_axis_still_has_points(latent_dim):
    codes = torch.zeros(50, latent_dim)
    codes[:, 0] = torch.randn(50)
    points = latent.latent_plane(codes).coordinates(codes)
    assert points.shape == (50, 2)
    assert points.abs().max() < 100


def distances(colours):
    """The smallest distance of two colours in CIELAB, as people with three kinds of colour vision see them."""
    # Machado et al., A Physiologically-based Model for Simulation of Color Vision Deficiency (2009), severity 1
    seen_by = {
        "protanopia": [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        "deuteranopia": [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        "tritanopia": [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    }
    to_xyz = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    rgb = torch.tensor([to_rgb(colour) for colour in colours])
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    found = {}
    for name, matrix in seen_by.items():
        x, y, z = (f(part) for part in ((linear @ torch.tensor(matrix).T).clamp(0, 1) @ to_xyz.T / WHITE).T)
        lab = torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)), 1)
        found[name] = torch.pdist(lab).min().item()
    return found


WHITE = torch.tensor([0.9505, 1.0, 1.089])


def f(part):
    return torch.where(part > 0.008856, part ** (1 / 3), 7.787 * part + 16 / 116)


def test_ten_labels_have_colours_that_colour_blind_people_can_tell_apart():
    usual = matplotlib.color_sequences["tab10"]
    ours, before = distances(style.COLOURS), distances(usual)
    print(ours, before)
    assert len(set(style.COLOURS)) == 10
    assert min(ours.values()) > 1.5 * min(before.values())


def test_the_first_epoch_does_not_fill_the_axis_and_is_named():
    history = [{"epoch": i, "train/nelbo": 100 + 400 * 0.2**i, "val/nelbo": 100.0 + i % 3} for i in range(20)]
    axes = curves.by_epoch(history, "nelbo").axes[0]
    low, high = axes.get_ylim()
    assert high < 130
    assert low < 100
    assert "↑ 500" in [text.get_text() for text in axes.texts]
    few = curves.by_epoch(history[:3], "nelbo").axes[0]
    assert few.get_ylim()[1] > 500


def test_the_axis_of_a_rising_figure_leaves_its_first_epoch_out_too():
    history = [{"epoch": i, "train/kl": 20 - 15 * 0.1**i} for i in range(20)]
    axes = curves.by_epoch(history, "nelbo").axes[2]
    assert axes.get_ylim()[0] > 17
    assert "↓ 5" in [text.get_text() for text in axes.texts]


def test_the_best_epoch_is_marked_in_each_panel():
    history = [{"epoch": i, "train/nelbo": 9.0 - i, "val/nelbo": float(abs(i - 4))} for i in range(8)]
    panels = curves.by_epoch(history, "nelbo").axes
    for axes in panels:
        assert [5, 5] in [list(line.get_xdata()) for line in axes.lines]
    (star,) = [line for line in panels[0].lines if line.get_marker() == "*"]
    assert (list(star.get_xdata()), list(star.get_ydata())) == ([5], [0.0])


def test_the_two_bounds_are_told_apart_and_the_gap_is_that_of_each_image():
    nelbo, nll = torch.tensor([10.0, 30.0, 20.0]), torch.tensor([9.0, 27.0, 18.0])
    left, right = curves.bounds_of_images(Bounds(nelbo, nelbo, nelbo, nll), 5).axes
    filled, outlined = left.patches
    assert outlined.get_facecolor()[3] == 0
    assert filled.get_facecolor()[:3] != outlined.get_edgecolor()[:3]
    assert "mean 2.00" in legend(right)[0]
    assert right.patches[0].get_xy()[:, 0].min() == pytest.approx(1)
    assert right.patches[0].get_xy()[:, 0].max() == pytest.approx(3)


def test_the_estimators_counts_are_logarithmic_beside_a_guide_of_one_over_root_l():
    left, right = of_numbers()["estimator"].axes
    assert {left.get_xscale(), right.get_xscale(), right.get_yscale()} == {"log"}
    (guide,) = [line for line in right.lines if "1/√L" in line.get_label()]
    x, y = (torch.as_tensor(values, dtype=torch.float64) for values in guide.get_data())
    torch.testing.assert_close(y * x.sqrt(), (y * x.sqrt())[:1].expand(len(x)))


def test_points_come_in_random_order_at_one_scale_with_names_in_their_middle():
    labels = torch.arange(200) // 100
    points = torch.randn(200, 2) + 10.0 * labels[:, None]
    axes = latent.scatter(points, AXES, labels, ("shirt", "bag")).axes[0]
    (cloud,) = [found for found in axes.collections if len(found.get_offsets()) == 200]
    drawn = torch.as_tensor(cloud.get_offsets())[:, 0] > 5
    assert 20 < (drawn[1:] != drawn[:-1]).sum() < 180
    assert axes.get_aspect() == 1
    for text, label in zip(axes.texts, (0, 1), strict=True):
        assert text.get_text() == ("shirt", "bag")[label]
        assert text.get_position() == pytest.approx(points[labels == label].median(0).values.tolist())
    colours = [tuple(colour[:3]) for colour in cloud.get_facecolors()]
    assert {colours[i] for i in range(200) if drawn[i]} == {to_rgb(style.COLOURS[1])}


def test_clouds_of_points_are_pixels_inside_vector_files(tmp_path):
    sizes = {}
    for count in (100, 5000):
        figure = latent.scatter(torch.randn(count, 2), AXES, torch.arange(count) % 10, DIGITS)
        for kind in ("svg", "pdf"):
            style.render(figure, tmp_path / f"{count}.{kind}")
            sizes[count, kind] = (tmp_path / f"{count}.{kind}").stat().st_size
    assert "<image" in (tmp_path / "5000.svg").read_text()
    assert (tmp_path / "5000.svg").read_text().count("<use") < 400  # letters and marks, and not points
    assert sizes[5000, "svg"] < 500_000
    assert sizes[5000, "pdf"] < 500_000


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_a_file_says_how_it_was_made_and_is_the_same_each_time(tmp_path, kind):
    found = []
    for name in ("a", "b"):
        figure = latent.kl_of_dimensions([torch.ones(2)], ["z₁"], 10)
        style.Form(kind, 100).save(figure, tmp_path / f"{name}.one", "kl_by_dimension images=10")
        found.append((tmp_path / f"{name}.one.{kind}").read_bytes())
    assert found[0] == found[1]
    assert b"kl_by_dimension images=10" in found[0]
    assert b"vae_lab" in found[0]


def test_dots_per_inch_are_those_of_the_picture(tmp_path):
    figure = latent.kl_of_dimensions([torch.ones(2)], ["z₁"], 10)
    assert style.render(figure, tmp_path / "a.png", dpi=300).shape[1] == pytest.approx(300 * style.ONE_COLUMN, abs=1)
    assert style.render(figure, tmp_path / "a.png", dpi=60).shape[1] == pytest.approx(60 * style.ONE_COLUMN, abs=1)


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch):
    figure = latent.kl_of_dimensions([torch.ones(2)], ["z₁"], 10)
    style.render(figure, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    monkeypatch.setattr(type(figure), "savefig", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(DiskError, match="No space left"):
        style.render(figure, tmp_path / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == before


def test_the_style_stays_with_our_figures():
    before = matplotlib.rcParams["font.size"]
    figure = latent.kl_of_dimensions([torch.ones(2)], ["z₁"], 10)
    assert matplotlib.rcParams["font.size"] == before
    assert figure.axes[0].xaxis.label.get_size() == 8


def test_copies_are_judged_by_what_is_usual_for_their_label():
    distances, labels = torch.tensor([2.0, 3.0, 6.0, 5.0]), torch.tensor([1, 1, 8, 3])
    real, of_real = torch.tensor([2.0, 4.0, 8.0, 8.0]), torch.tensor([1, 1, 8, 8])
    found = relative_to_label(distances, labels, real, of_real)
    torch.testing.assert_close(found, torch.tensor([2 / 3, 3 / 3, 6 / 8, 5 / 5.5]))
