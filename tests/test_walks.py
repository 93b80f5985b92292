"""Interpolations: which images they join, what stands at their ends, and what is refused."""

from itertools import pairwise

import pytest
import torch

from helpers import SHAPE, small_vae
from vae_lab.errors import ConfigError, NotOffered
from vae_lab.figures import images
from vae_lab.training.callbacks import Interpolation
from vae_lab.training.figures.walks import different

NAMES = ("shirt", "trouser", "bag")


class Labelled:
    """Nine images of three labels, as a data module has them."""

    labels = NAMES
    test_images, test_labels = torch.rand(9, *SHAPE), torch.tensor([2, 0, 0, 1, 2, 2, 1, 0, 1])


class Unlabelled(Labelled):
    labels = None


def walks_of(callback, data=None):
    """The names at the ends of the walks that are drawn, and what the figure got."""
    got, draw = [], images.interpolation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "interpolation", lambda *given: got.append(given) or draw(*given))
        callback.draw(small_vae().eval(), data or Labelled())
    return got[0]


def names_of(callback, data=None):
    return [tuple(name.replace("\n", " ") for name in pair) for pair in walks_of(callback, data)[3]]


def test_labels_that_a_person_names_are_joined_by_name_or_number():
    walks = [["shirt", "bag"], [0, 2], ["trouser", 1]]
    expected = [("shirt #1", "bag #0"), ("shirt #2", "bag #4"), ("trouser #3", "trouser #6")]
    assert names_of(Interpolation(labels=walks)) == expected


def test_images_that_a_person_names_stand_at_both_ends_and_the_walk_goes_between_their_codes():
    model, x = small_vae().eval(), Labelled.test_images
    callback = Interpolation(images=[[7, 3], [8, 0]], steps=3)
    got = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "interpolation", lambda *given: got.append(given))
        callback.draw(model, Labelled())
    walks, _, (first, last), names = got[0]
    assert torch.equal(first, x[[7, 8]])
    assert torch.equal(last, x[[3, 0]])
    torch.testing.assert_close(walks, model.interpolate(x[[7, 8]], x[[3, 0]], 3))
    assert names == [("shirt\n#7", "trouser\n#3"), ("trouser\n#8", "bag\n#0")]


def test_the_pictures_outermost_cells_are_the_images_themselves():
    ends = torch.rand(2, 2, *SHAPE)
    figure = images.interpolation(torch.rand(4, 2, *SHAPE), "means", (ends[0], ends[1]), [("a", "b")] * 2)
    picture = torch.as_tensor(figure.axes[0].get_images()[0].get_array())
    torch.testing.assert_close(picture[:28, :28], ends[0, 0, 0])
    torch.testing.assert_close(picture[-28:, -28:], ends[1, 1, 0])


def test_no_walk_comes_twice_before_every_other_one_has_come():
    found = different(10, 90)
    assert len(set(found)) == 90
    assert {start for start, _ in found[:10]} == set(range(10))
    assert different(10, 5) == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
    assert all(start != end for start, end in found)
    assert different(10, 200)[90:180] == found


def test_walks_between_the_same_labels_join_other_images():
    names = names_of(Interpolation(pairs=9))
    assert len(set(names)) == 9
    assert names[0] == ("shirt #1", "trouser #3")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"labels": [["shirt", "hat"]]},
            "labels=[['shirt','hat']]: no test image has the label hat; there are ",
        ),
        ({"labels": [[0, 3]]}, "labels=[[0,3]]: no test image has the label 3; there are shirt, trouser, bag"),
        ({"images": [[0, 9]]}, "images=[[0,9]]: there is no test image 9; the last one is 8"),
    ],
)
def test_labels_and_images_that_there_are_not_are_refused_before_a_training(settings, message):
    with pytest.raises(ConfigError) as raised:
        Interpolation(**settings).check(small_vae(), Labelled())
    assert str(raised.value).startswith(f"callbacks.interpolation.{message}")


def test_labels_of_images_without_labels_are_refused():
    with pytest.raises(ConfigError, match="the images have no labels"):
        Interpolation(labels=[[0, 1]]).check(small_vae(), Unlabelled())
    assert names_of(Interpolation(images=[[0, 1]]), Unlabelled()) == [("#0", "#1")]


def test_images_named_for_a_model_without_codes_are_refused():
    model = small_vae()
    model.codes_of = lambda _: (_ for _ in ()).throw(NotOffered("it has no codes"))
    with pytest.raises(ConfigError, match=r"images=\[\[0,1\]\]: it has no codes; leave it out"):
        Interpolation(images=[[0, 1]]).check(model, Labelled())
    Interpolation().check(model, Labelled())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": [[0, 1]], "images": [[0, 1]]}, "interpolation.images=.* not both"),
        ({"labels": [[0, 1]], "between": "prior_draws"}, "interpolation.between=prior_draws: .* leave labels out"),
        ({"images": [[0, 1]], "pairs": 7}, "interpolation.pairs=7: images names the walks"),
    ],
)
def test_settings_of_walks_that_exclude_each_other_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        Interpolation(**settings)


def test_the_default_walks_visit_every_label():
    callback = Interpolation(pairs=3)
    assert {name.split()[0] for pair in names_of(callback) for name in pair} == set(NAMES)
    assert all(a != b for a, b in pairwise(names_of(callback)))
