"""Images of any form, with no labels, one, or many: every figure, measurement and judgement copes or says why not."""

import numpy as np
import pytest
import torch

from helpers import TINY, Pictures, assert_nothing_is_cut_off, call, pictures
from vae_lab.decoders import ConvDecoder
from vae_lab.encoders import ConvEncoder
from vae_lab.errors import NotOffered
from vae_lab.evaluation import classifier, sample_quality
from vae_lab.figures.style import render
from vae_lab.likelihoods import Gaussian
from vae_lab.models import VAE
from vae_lab.priors import StandardNormal
from vae_lab.training import callbacks
from vae_lab.training.figures import FigureCallback

SHAPES = [(3, 8, 8), (3, 48, 40), (1, 8, 128), (3, 64, 64)]
KINDS = [0, 100]
# each shape with some labels, each number of labels with some shape
BOTH = [*((shape, 3) for shape in SHAPES), *(((3, 16, 12), kinds) for kinds in KINDS)]
FEW = {"samples": {"rows": 2, "columns": 3}, "latent_grid": {"n": 3}, "interpolation": {"pairs": 2, "steps": 3}}
EVERY = [found for name in callbacks.__all__ if issubclass(found := getattr(callbacks, name), FigureCallback)]


def model_for(shape, latent_dim=4):
    encoder = ConvEncoder(latent_dim, [4, 4], shape)
    return VAE(encoder, ConvDecoder(latent_dim, [4, 4], Gaussian(), shape), StandardNormal(latent_dim)).eval()


def made(shape, kinds, folder, **options):
    data = Pictures(shape, kinds, folder=folder, **options)
    data.setup()
    return data


@pytest.mark.parametrize(("shape", "kinds"), BOTH)
@torch.no_grad()
def test_every_figure_is_drawn(tmp_path, shape, kinds):
    model, data = model_for(shape), made(shape, kinds, tmp_path, test_n=110)
    for kind in EVERY:
        try:
            figure = kind(**FEW.get(kind.name, {})).draw(model, data)
        except NotOffered:
            continue
        assert_nothing_is_cut_off(figure)
        assert render(figure, tmp_path / f"{kind.name}.png").std() > 2.5, kind.name


@pytest.mark.parametrize(("shape", "kinds"), [both for both in BOTH if both[1] > 1])
@torch.no_grad()
def test_samples_and_codes_are_judged(tmp_path, shape, kinds):
    model, data = model_for(shape), made(shape, kinds, tmp_path)
    (images, labels), (test, _) = data.read()
    with torch.enable_grad():
        net = classifier.classifier(tmp_path / "classifier.pt", images, labels, kinds)
    found = sample_quality.samples_judged(net, model.sample(20), test, images)[0]
    of_training, of_test = (
        sample_quality.codes(model.encode, loader) for loader in (data.training_in_order(), data.test_dataloader())
    )
    found |= sample_quality.codes_judged(of_training, of_test)
    assert all(torch.tensor(float(value)).isfinite() for value in found.values()), found


@torch.no_grad()
def test_codes_of_images_with_one_label_are_not_judged(tmp_path):
    data = made((3, 16, 12), 1, tmp_path)
    codes = sample_quality.codes(model_for((3, 16, 12)).encode, data.test_dataloader())
    with pytest.raises(NotOffered, match="one label only"):
        sample_quality.codes_judged(codes, codes)


@pytest.mark.parametrize("values", [1, 700, 3000])
def test_the_nearest_image_does_not_depend_on_how_many_are_compared_at_once(monkeypatch, values):
    among = made((3, 16, 12), 3, None).train.images
    images = torch.rand(9, 3, 16, 12)
    distances, indices = sample_quality.nearest(images, among)
    monkeypatch.setattr(sample_quality, "VALUES", values)
    in_parts = sample_quality.nearest(images, among, at_once=4)
    torch.testing.assert_close(in_parts[0], distances)
    assert torch.equal(in_parts[1], indices)
    expected = (images[:, None] - among[None] / 255).square().sum((2, 3, 4)).sqrt().min(1)
    torch.testing.assert_close(distances, expected.values, rtol=1e-4, atol=1e-4)
    assert torch.equal(indices, expected.indices)


@pytest.mark.parametrize("kinds", [0, 47])
def test_the_program_trains_tests_and_evaluates_whatever_the_labels(monkeypatch, tmp_path, kinds):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path))
    (x, y), (test_x, test_y) = (pictures(n, (3, 12, 16), max(kinds, 1)) for n in (110, 60))
    labels = {"y_train": y.numpy(), "y_test": test_y.numpy()} if kinds else {}
    np.savez("set.npz", x_train=x.numpy(), x_test=test_x.numpy(), **labels)
    tiny = [argument for argument in TINY if not argument.startswith("data.")]
    trained = call("data=arrays", "data.file=set.npz", "data.batch_size=20", *tiny, "hydra.run.dir=run")
    assert trained.code == 0, trained.err
    few = ("evaluation.k=2", "evaluation.samples=20", "trainer.accelerator=cpu")
    again = call("task=evaluate", "run_dir=run", *few)
    assert again.code == 0, again.err
    assert ("samples judged" in again.out) == (kinds > 1)
    assert ("samples: left out, the images have no labels" in again.out) == (kinds < 2)
