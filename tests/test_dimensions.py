"""The KL of each latent dimension, and images along one dimension."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from helpers import SHAPE, LinearGaussian, small_vae
from vae_lab.errors import NotOffered
from vae_lab.evaluation.dimensions import kl_of_dimensions
from vae_lab.figures import images
from vae_lab.figures.latent import name_of_dimension
from vae_lab.likelihoods import Bernoulli
from vae_lab.models import MLPLadder
from vae_lab.priors import Mixture
from vae_lab.training.callbacks import KLByDimension, LatentGrid, Traversals
from vae_lab.training.figures.latent import spread_of_prior


class Sorted:
    """Test images as a data module has them."""

    labels = tuple(str(i) for i in range(10))
    test_images, test_labels = torch.rand(7, *SHAPE).round(), torch.arange(7)


def test_the_kl_of_each_dimension_is_that_of_its_normal_integrated():
    model, x = small_vae(3).double(), torch.rand(6, *SHAPE).round()
    (found,) = kl_of_dimensions(model, x)
    q, expected = model.infer(x.double()), torch.zeros(3, dtype=torch.float64)
    z = torch.linspace(-12, 12, 20001, dtype=torch.float64)
    for i in range(3):
        for mean, sd in zip(q.mean[:, i], q.stddev[:, i], strict=True):
            log_q = Normal(mean, sd).log_prob(z)
            ratio = log_q - Normal(0.0, 1.0).log_prob(z)
            expected[i] += torch.trapezoid(log_q.exp() * ratio, z).detach() / 6
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(found.sum(), kl_divergence(q, model.prior()).mean().detach())


def test_a_ladder_has_the_dimensions_of_each_layer_the_topmost_first():
    ladder = MLPLadder([5, 3], [16, 8], Bernoulli(), SHAPE)
    x = torch.rand(5, *SHAPE).round()
    torch.manual_seed(1)
    found = kl_of_dimensions(ladder, x)
    torch.manual_seed(1)
    layers = ladder.draw(ladder.infer(x), x, 1).closed_kls
    assert [len(part) for part in found] == [3, 5]
    for part, kl in zip(found, layers, strict=True):
        torch.testing.assert_close(part.sum(), kl.double().mean().detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [lambda: small_vae(2, Mixture(2)), LinearGaussian])
def test_dimensions_that_depend_on_each_other_have_no_kl_of_their_own(make):
    model = make()
    with pytest.raises(NotOffered, match="for each dimension"):
        kl_of_dimensions(model, torch.rand(3, *model.image_shape).round())


def test_traverse_changes_one_number_of_the_code():
    model, x = small_vae(4).eval(), torch.rand(2, 3, *SHAPE)
    found = model.traverse(x, dim=2, reach=1.5, steps=4)
    assert found.shape == (4, 2, 3, *SHAPE)
    codes = model.encode(x)
    for value, pictures in zip((-1.5, -0.5, 0.5, 1.5), found, strict=True):
        codes[..., 2] = value
        torch.testing.assert_close(pictures, model.decode(codes))


@pytest.mark.parametrize("dim", [-1, 4])
def test_traverse_names_the_dimensions_that_there_are(dim):
    with pytest.raises(IndexError, match=f"dim={dim}: the codes have the dimensions 0 to 3"):
        small_vae(4).traverse(torch.rand(1, *SHAPE), dim)


def drawn(callback, model, monkeypatch):
    """The images and the names of the rows of traversals."""
    found = []
    monkeypatch.setattr(images, "traversals", lambda *given: found.append(given))
    callback.draw(model, Sorted())
    (given,) = found
    return given


def test_traversals_begin_with_the_most_active_dimension(monkeypatch):
    model = small_vae(3).eval()
    rows, names, reach, title = drawn(Traversals(n=2, steps=3, image=4), model, monkeypatch)
    (kls,) = kl_of_dimensions(model, Sorted.test_images)
    best, second = kls.argsort(descending=True)[:2].tolist()
    assert [name.split()[-1] for name in names] == [f"{kls[best]:.2f}", f"{kls[second]:.2f}"]
    assert names[0].startswith(f"z{'₁₂₃'[best]}")
    torch.testing.assert_close(rows[0], model.traverse(Sorted.test_images[4], best, 3.0, 3))
    assert (reach, "test image 4" in title, "KL in nats" in title) == (3.0, True, True)


def test_traversals_without_a_kl_of_each_dimension_begin_with_the_one_that_varies_most(monkeypatch):
    model = small_vae(3, Mixture(3)).eval()
    _, names, _, title = drawn(Traversals(), model, monkeypatch)
    spread = model.encode(Sorted.test_images).std(0).sort(descending=True).values
    assert [name.split()[-1] for name in names] == [f"{sd:.2f}" for sd in spread]
    assert "standard deviation" in title


def test_figures_of_the_plane_reach_as_far_as_a_learned_prior(monkeypatch):
    model = small_vae(2, Mixture(2)).eval()
    with torch.no_grad():
        model.prior.means.mul_(0).add_(30.0)
    assert spread_of_prior(model) == 30
    assert spread_of_prior(small_vae(2)) == 1
    *_, reach, _ = drawn(Traversals(), model, monkeypatch)
    assert reach == 90
    assert "[−60, 60]²" in LatentGrid(n=3).draw(model, Sorted()).get_suptitle()
    assert "[−2, 2]²" in LatentGrid(n=3).draw(small_vae(3), Sorted()).get_suptitle()  # standard deviations of the codes


def test_the_bars_of_the_kl_are_sorted_and_named():
    model = small_vae(3).eval()
    figure = KLByDimension().draw(model, Sorted())
    (axes,), (kls,) = figure.axes, kl_of_dimensions(model, Sorted.test_images)
    order = kls.argsort(descending=True)
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(kls[order].tolist())
    assert [text.get_text() for text in axes.get_xticklabels()] == [name_of_dimension(i) for i in order.tolist()]
    assert f"KL {kls.sum():.2f} nats" in axes.get_title()
