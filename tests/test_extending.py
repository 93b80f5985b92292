"""The code of docs/extending.md, as a package outside the repository: parts and a kind of model are added in Python."""

import importlib.util
import itertools
import math
import re
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from helpers import SHAPE, digits, small_vae, trainer
from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.errors import NotOffered
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import KL, SGVB
from vae_lab.models import VAE
from vae_lab.training.figures import Interpolation, PriorSamples, RealImages, Reconstructions
from vae_lab.training.module import Training

TEXT = (Path(__file__).resolve().parents[1] / "docs" / "extending.md").read_text()


@pytest.fixture(scope="module")
def mylab(tmp_path_factory):
    """The Python blocks of the document as one module; the imports stand below the example that needs them."""
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    imports = next(block for block in blocks if block.startswith("import torch"))
    file = tmp_path_factory.mktemp("elsewhere") / "mylab.py"
    file.write_text("\n\n".join([imports, *(block for block in blocks if block != imports)]))
    spec = importlib.util.spec_from_file_location("mylab", file)
    module = importlib.util.module_from_spec(spec)
    sys.modules["mylab"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mylab"]


def model_of(mylab, decoder) -> VAE:
    encoder = MLPEncoder(2, [16], SHAPE, posterior=mylab.LaplacePosterior(2))
    return VAE(encoder, decoder, mylab.Laplace(2))


def fitted(model, loss, folder, small_data, **options):
    fit = trainer(folder, max_epochs=3, **options)
    fit.fit(Training(model, loss), small_data)
    nelbo = [row["train/nelbo"] for row in model.history]
    assert nelbo[-1] < nelbo[0]
    return fit


@pytest.mark.parametrize("loss", [KL(), SGVB()])
def test_a_prior_a_posterior_and_a_likelihood_of_ones_own_train(mylab, tmp_path, small_data, loss):
    model = model_of(mylab, MLPDecoder(2, [16], mylab.LaplacePixels(), SHAPE))
    model.start_at(torch.full(SHAPE, 0.2))
    fitted(model, loss, tmp_path, small_data)
    x = small_data.test_images[:5]
    assert model.encode(x).shape == (5, 2)
    assert model.reconstruct(x).shape == x.shape
    assert model.log_prob(x, k=20).isfinite().all()


def test_the_likelihood_integrates_to_one(mylab):
    pixel = mylab.LaplacePixels()(torch.tensor([0.2, -1.0]).double().view(2, 1, 1))
    x = torch.linspace(-15, 15, 300_001, dtype=torch.float64)
    assert torch.trapezoid(pixel.log_prob(x.view(-1, 1, 1, 1)).exp(), x).item() == pytest.approx(1, abs=1e-5)


def test_the_chain_is_a_distribution_and_its_samples_follow_it(mylab):
    chain = mylab.Chain(torch.randn(1, 2, 2), torch.tensor(1.5))
    images = torch.tensor(list(itertools.product((0.0, 1.0), repeat=4))).view(16, 1, 2, 2)
    probabilities = torch.stack([chain.log_prob(image) for image in images]).exp()
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-6)
    n = 20_000
    drawn = chain.sample((n,)).flatten(1) @ torch.tensor([8.0, 4.0, 2.0, 1.0])
    counts = torch.bincount(drawn.long(), minlength=16) / n
    # 16 frequencies at 4.5 standard errors: a false alarm once in 9,000 seeds, and the seed is fixed
    assert ((counts - probabilities).abs() < 4.5 * (probabilities / n).sqrt()).all()


def test_a_decoder_without_a_mean_trains_and_is_drawn(mylab, tmp_path, small_data):
    with pytest.raises(NotImplementedError):
        mylab.Chain(torch.zeros(SHAPE), torch.tensor(0.0)).mean  # noqa: B018
    model = model_of(mylab, mylab.ChainDecoder(2, Bernoulli(), SHAPE))
    figures = [Reconstructions(), PriorSamples(), Interpolation()]
    fit = fitted(model, KL(), tmp_path, small_data, callbacks=figures)
    fit.test(Training(model, KL()), small_data, verbose=False)
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {figure.name for figure in figures}
    assert set(model.sample(3).unique().tolist()) == {0.0, 1.0}
    with pytest.raises(NotOffered, match="ChainDecoder has no output bias"):
        model.start_at(torch.zeros(SHAPE))


def test_a_model_of_another_kind_trains_and_what_it_lacks_is_left_out(mylab, tmp_path, small_data, caplog):
    model = mylab.ChainModel(SHAPE)
    figures = [Reconstructions(), PriorSamples(), RealImages()]
    fit = fitted(model, KL(), tmp_path, small_data, callbacks=figures)
    with caplog.at_level("INFO"):
        fit.test(Training(model, KL()), small_data, verbose=False)
    assert "reconstructions: left out, ChainModel does not have codes" in caplog.text
    assert {file.stem for file in (tmp_path / "figures").iterdir()} == {"samples", "real_images"}
    assert fit.callback_metrics["test/kl"] == 0
    x = small_data.test_images[:4]
    exact = mylab.Chain(model.logits.expand(4, *SHAPE), model.weight).log_prob(x)
    torch.testing.assert_close(model.log_prob(x, k=7), exact)


def test_a_loss_and_a_figure_of_ones_own(mylab, tmp_path, small_data):
    model = small_vae()
    fit = fitted(
        model, mylab.Capacity(gamma=30.0, capacity=4.0), tmp_path, small_data, callbacks=[mylab.CodeHistogram()]
    )
    fit.test(Training(model, KL()), small_data, verbose=False)
    assert (tmp_path / "figures" / "code_histogram.png").exists()
    x = small_data.test_images[:5].float() / 255
    found = mylab.Capacity(gamma=2.0, capacity=3.0)(model, x)
    expected = found.figures["reconstruction"] + 2 * (found.figures["kl"] - 3).abs()
    torch.testing.assert_close(found.loss, expected.mean())


def test_a_plain_loader_trains_it_too(mylab, tmp_path):
    x = digits(64)[0].float() / 255
    model = mylab.ChainModel(SHAPE)
    trainer(tmp_path, max_epochs=1).fit(Training(model, KL()), DataLoader(x, batch_size=16))
    assert math.isfinite(model.history[0]["train/nelbo"])
