"""Figures of a sweep: nothing cut off, scales that fit, names that can be read."""

import statistics

import pytest

from helpers import assert_nothing_is_cut_off
from vae_lab.figures import sweeps as figures
from vae_lab.figures.quantities import Quantity
from vae_lab.figures.sweep_axes import Axis, Measured
from vae_lab.figures.sweeps import NAMED, LearningCurve

LRS = [1e-4, 1e-3, 1e-2]
LR = Axis("optimizer.lr", [1e-4, 1e-3, 1e-2, 1e-4, 1e-3], LRS)
PRIOR = Axis("prior", ["mixture", "mixture", "mixture", "vamp", "vamp"], ["mixture", "vamp"])
DEPTH = Axis("hidden_dims", ["[256,256]", "[64]", "[64]", "[64]", "[64]"], ["[64]", "[256,256]"])
NELBO = Quantity("NELBO", "nats per image")
VALIDATION = Quantity("validation NELBO", "nats per image")
NELBOS = [Measured(101, 0.2), Measured(99, 0.3), Measured(105), Measured(100, 0.1), Measured(1e6)]


def made():
    lr = Axis("optimizer.lr", LRS, LRS)
    return {
        "heat map": figures.heat_map(LR, PRIOR, NELBOS, VALIDATION),
        "line": figures.line(lr, {"validation NELBO": NELBOS[:3]}, [(1e-3, 98.0), *((x, 101.0) for x in LRS)], NELBO),
        "categories": figures.line(Axis("prior", ["a", "b"], ["a", "b"]), {"test NELBO": NELBOS[:2]}, [], NELBO),
        "one value": figures.heat_map(Axis("x", [1.0], [1.0]), Axis("y", ["a"], ["a"]), NELBOS[:1], NELBO),
        "parallel": figures.parallel([LR, PRIOR, DEPTH], NELBOS, VALIDATION),
        "seeds": figures.seeds({"test NELBO": [("0", 99.0), ("1", 100.0)]}, NELBO),
        "one seed": figures.seeds({"test NELBO": [("0", 99.0)]}, NELBO),
        "curves": figures.learning_curves(
            [LearningCurve(f"optimizer.lr=0.00{i}", [1, 2, 3], [200, 110 + i, 100 + i]) for i in range(9)], VALIDATION
        ),
    }


@pytest.mark.parametrize("name", made())
def test_nothing_is_cut_off(name):
    assert_nothing_is_cut_off(made()[name])


def test_values_that_span_decades_lie_on_a_logarithm():
    axes = made()["line"].axes[0]
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "optimizer.lr"
    assert axes.get_ylabel() == "NELBO / nats per image"
    assert LR.fractions([1e-3]).tolist() == pytest.approx([0.5])
    assert Axis("n", [1, 2], [1, 2, 3]).fractions([2]).tolist() == pytest.approx([0.5])


def test_error_bars_and_every_run_lie_inside_the_axes():
    low, high = made()["line"].axes[0].get_ylim()
    assert low < 98
    assert high > 105


def test_the_heat_map_says_the_numbers_and_frames_the_best():
    axes, bar = made()["heat map"].axes
    texts = {text.get_text(): text.get_position() for text in axes.texts}
    assert texts["99.00 ± 0.30"] == (1, 0)
    assert len(texts) == 5
    (frame,) = axes.patches
    assert frame.get_x() < 1 < frame.get_x() + frame.get_width()
    # a diverged run does not flatten the colours of the rest
    assert axes.images[0].norm.vmax < 110
    assert bar.get_ylabel() == "validation NELBO / nats per image"


def test_a_diverged_run_does_not_flatten_the_curves():
    curves = [
        *(LearningCurve(str(i), [1, 2], [120, 100 + i]) for i in range(4)),
        LearningCurve("diverged", [1, 2], [1e5, 1e6]),
    ]
    axes = figures.learning_curves(curves, NELBO).axes[0]
    assert axes.get_ylim()[1] < 200
    assert any("above" in text.get_text() for text in axes.texts)


def test_only_the_best_curves_are_named():
    figure = made()["curves"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "optimizer.lr=0.000"
    assert len(names) == NAMED + 1
    assert names[-1] == "3 more, the worst lightest"
    assert len(figure.axes[0].lines) == 9


def test_seeds_of_one_setting_share_colour_and_name():
    curves = [LearningCurve("a", [1], [1.0]), LearningCurve("a", [1], [2.0]), LearningCurve("b", [1], [3.0])]
    figure = figures.learning_curves(curves, NELBO)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 2


def spread_of(settings):
    """A figure over priors with several seeds: each setting's runs, with the test figure one above the chosen one."""
    names = [f"prior {i}" for i in range(len(settings))]
    means = {
        title: [Measured(statistics.mean(runs) + more, statistics.stdev(runs)) for runs in settings]
        for title, more in (("validation NELBO", 0.0), ("test NELBO", 1.0))
    }
    points = [(name, value) for name, runs in zip(names, settings, strict=True) for value in runs]
    return figures.line(Axis("prior", names, names), means, points, NELBO).axes[0], means


SPREAD = {
    "one prior far above": ([[95, 96, 97], [96, 97, 98], [97, 98, 99], [109, 112, 118]], 0),
    "wide seeds": ([[90, 100, 130], [95, 96, 97], [91, 92, 93]], 0),
    "twice as high": ([[100, 101], [100, 102], [205, 206]], 0),
    "negative values": ([[-900, -880], [-870, -860], [-500, -400]], 0),
    "small values": ([[0.1, 0.2], [0.3, 0.4], [2.0, 3.0]], 0),
    "equal runs": ([[100, 100], [100, 100]], 0),
    "one diverged setting": ([[100, 101], [102, 103], [1e5, 1e6]], 2),
    "one diverged seed": ([[100, 101, 102], [103, 104, 1e7], [102, 103, 104]], 1),
    "two diverged of four": ([[95, 96], [97, 98], [1e4, 2e4], [1e8, 1e9]], 4),
}


@pytest.mark.parametrize("name", SPREAD)
def test_only_diverged_runs_are_cut_off_and_they_are_counted(name):
    settings, diverged = SPREAD[name]
    axes, means = spread_of(settings)
    low, high = axes.get_ylim()
    values = sorted(value for runs in settings for value in runs)
    kept = values[: len(values) - diverged]
    ends = [end for of in means.values() for value in of if value.mean <= 2 * abs(kept[-1]) for end in value.ends]
    assert low <= min(kept + ends)
    assert high >= max(kept + ends)
    assert high < 3 * abs(kept[-1]) + 10
    notes = [text.get_text() for text in axes.texts]
    assert notes == ([] if not diverged else [f"↑ {diverged} run{'s' if diverged > 1 else ''} above"])


def test_the_curves_show_the_end_of_every_run_that_did_not_diverge():
    curves = [
        LearningCurve(str(end), range(100), [500, *[end + 20 / (i + 1) for i in range(99)]]) for end in (95, 97, 140)
    ]
    axes = figures.learning_curves(curves, NELBO).axes[0]
    low, high = axes.get_ylim()
    assert low < 95
    assert 141 < high < 300
    assert not axes.texts
