"""Figures of a sweep: nothing cut off, scales that fit, names that can be read."""

import statistics

import pytest

from helpers import assert_nothing_is_cut_off
from vae_lab.figures import sweeps as figures
from vae_lab.figures.learning_curves import NAMED, LearningCurve, learning_curves
from vae_lab.figures.quantities import Quantity
from vae_lab.figures.sweep_axes import Axis, Measured, rank_colour

LRS = [1e-4, 1e-3, 1e-2]
LR = Axis("optimizer.lr", [1e-4, 1e-3, 1e-2, 1e-4, 1e-3], LRS)
PRIOR = Axis("prior", ["mixture", "mixture", "mixture", "vamp", "vamp"], ["mixture", "vamp"])
DEPTH = Axis("hidden_dims", ["[256,256]", "[64]", "[64]", "[64]", "[64]"], ["[64]", "[256,256]"])
NELBO = Quantity("NELBO", "nats per image")
VALIDATION = Quantity("validation NELBO", "nats per image")
KL = Quantity("validation KL", "nats per image")
RECONSTRUCTION = Quantity("validation reconstruction", "nats per image")
NELBOS = [Measured(101, 0.2), Measured(99, 0.3), Measured(105), Measured(100, 0.1), Measured(1e6)]


def curve(label, *seeds):
    """A setting whose seeds have these values after epochs 1, 2, …"""
    return LearningCurve(label, [list(enumerate(values, 1)) for values in seeds])


CURVES = [curve(f"optimizer.lr=0.00{i}", [200, 110 + i, 100 + i]) for i in range(9)]


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
        "curves": learning_curves({VALIDATION: CURVES}),
        "curves and terms": learning_curves({VALIDATION: CURVES, KL: CURVES, RECONSTRUCTION: CURVES}),
        "curves of a phone": learning_curves({VALIDATION: CURVES, KL: CURVES}, columns=1),
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
    curves = [*(curve(str(i), [120, 100 + i]) for i in range(4)), curve("diverged", [1e5, 1e6], [1e5, 1e6])]
    axes = learning_curves({NELBO: curves}).axes[0]
    assert axes.get_ylim()[1] < 200
    assert [text.get_text() for text in axes.texts] == ["↑ 2 runs above"]


def test_a_run_with_a_large_term_alone_did_not_diverge():
    kls = [curve("a", [0.01, 0.02]), curve("b", [0.01, 0.021]), curve("c", [0.9, 1.1])]
    totals = [curve(name, [130, end]) for name, end in (("a", 110), ("b", 111), ("c", 112))]
    axes = learning_curves({NELBO: totals, KL: kls}).axes[1]
    assert axes.get_ylim()[1] > 1.1
    assert not axes.texts


def test_the_whole_band_of_few_epochs_lies_inside():
    axes = learning_curves({NELBO: [curve("a", [131, 110], [127, 112]), curve("b", [120, 108])]}).axes[0]
    assert axes.get_ylim()[1] > 129 + 2 * 2**0.5


def test_only_the_best_curves_are_named():
    figure = made()["curves"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "optimizer.lr=0.000"
    assert len(names) == NAMED + 1
    assert names[-1] == "3 more, the worst lightest"
    assert len(figure.axes[0].lines) == 9


def test_the_terms_stand_beside_the_criterion_and_below_it_where_there_is_no_room():
    titles = [axes.get_title() for axes in made()["curves and terms"].axes]
    assert titles == ["validation NELBO", "validation KL", "validation reconstruction"]
    wide, narrow = made()["curves and terms"], made()["curves of a phone"]
    assert wide.get_figwidth() > wide.get_figheight()
    assert narrow.get_figwidth() < narrow.get_figheight()


def test_a_setting_is_its_mean_and_a_band_of_one_standard_deviation():
    seeds = [[10.0, 6.0, 5.0], [12.0, 8.0, 4.0], [14.0, 7.0, 6.0]]
    axes = learning_curves({NELBO: [curve("a", *seeds), curve("b", [20, 20, 20])]}).axes[0]
    lines = {line.get_color(): line for line in axes.lines}
    mean = next(line for line in lines.values() if line.get_ydata()[0] == 12)
    assert mean.get_xdata() == pytest.approx([1, 2, 3])
    assert mean.get_ydata() == pytest.approx([12, 7, 5])
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    for epoch, values in enumerate(zip(*seeds, strict=True), 1):
        low, high = (statistics.mean(values) + sign * statistics.stdev(values) for sign in (-1, 1))
        found = corners[corners[:, 0] == epoch][:, 1]
        assert found.min() == pytest.approx(low)
        assert found.max() == pytest.approx(high)


def test_a_mean_ends_where_the_first_seed_ends_and_the_longer_one_goes_on_alone():
    axes = learning_curves({NELBO: [curve("a", [10, 8, 7, 6], [12, 10])]}).axes[0]
    alone, mean = sorted(axes.lines, key=lambda line: -max(line.get_xdata()))
    assert list(mean.get_ydata()) == [11, 9]
    assert (list(alone.get_xdata()), list(alone.get_ydata())) == ([2, 3, 4], [8, 7, 6])


@pytest.mark.parametrize("count", [1, 2, 3, 7, 50])
def test_every_rank_has_a_colour_that_can_be_seen_on_white(count):
    def luminance(colour):  # of WCAG 2.2
        red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3])
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for rank in range(count):
        assert 1.05 / (luminance(rank_colour(rank, count)) + 0.05) >= 3


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
    curves = [curve(str(end), [500, *[end + 20 / (i + 1) for i in range(99)]]) for end in (95, 97, 140)]
    axes = learning_curves({NELBO: curves}).axes[0]
    low, high = axes.get_ylim()
    assert low < 95
    assert 141 < high < 300
    assert not axes.texts
