"""Models that were built by hand are saved as run folders, and load gives them back."""

import hydra
import pytest
import torch
from torch import nn

import vae_lab
from helpers import SHAPE, small_vae
from vae_lab.config.build import build_model
from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import ConvEncoder, MLPEncoder
from vae_lab.errors import UserError
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.models import VAE
from vae_lab.paths import CONF
from vae_lab.priors import Mixture, StandardNormal

SMALL = ("hidden_dims=[8,8]", "channels=[2,4]", "latent_dim=2")
KINDS = {
    "flows": ("posterior=iaf", "prior=flow", "loss=sgvb"),
    "vamp": ("prior=vamp", "loss=sgvb", "encoder=conv", "decoder=conv"),
    "grey levels": ("likelihood=logistic_mixture", "data.binarization=none"),
    "continuous": ("likelihood=continuous_bernoulli", "data.binarization=none"),
    "svi": ("inference=svi",),
    "ladder": ("model=ladder", "loss.warmup_epochs=2", "model.hidden_dims=[8,8]", "model.latent_dims=[4,2]"),
    "autoregressive": ("model=autoregressive", "decoder=pixelcnn", "decoder.layers=2", "decoder.width=4"),
    "gan": ("model=gan",),
    "coordinate": ("decoder=coordinate",),
}


def composed(*overrides: str):
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose("config", list(overrides))


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_of_any_kind_is_read_again(kind, tmp_path):
    config = composed(*KINDS[kind], *(() if "ladder" in kind or kind == "autoregressive" else SMALL))
    model = build_model(config, SHAPE)
    found = vae_lab.load(vae_lab.save(model, tmp_path / "mine"))
    assert type(found) is type(model)
    weights = model.state_dict()
    assert list(found.state_dict()) == list(weights)
    assert all(torch.equal(value, weights[name]) for name, value in found.state_dict().items())
    samples = []
    for each in (model.eval(), found):
        torch.manual_seed(0)
        samples.append(each.sample(2))
    assert torch.equal(*samples)


def test_a_model_of_parts_by_hand_gives_the_same_bounds(tmp_path):
    shape = (3, 12, 10)
    encoder, likelihood = ConvEncoder(3, [4, 6], image_shape=shape), Gaussian(learned=True)
    model = VAE(encoder, MLPDecoder(3, hidden_dims=(9,), likelihood=likelihood, image_shape=shape), Mixture(3, 4))
    model.history = [{"epoch": 0, "train/nelbo": 3.5}]
    found = vae_lab.load(vae_lab.save(model, tmp_path / "a" / "b"))
    x, bounds = torch.rand(5, *shape), []
    for each in (model.eval(), found):
        torch.manual_seed(0)
        bounds.append(each.log_prob(x, k=3))
    assert torch.equal(*bounds)
    assert found.history == model.history


def test_a_list_that_changes_later_changes_no_saved_model(tmp_path):
    dims = [8, 6]
    model = VAE(MLPEncoder(2, dims, SHAPE), MLPDecoder(2, dims, Bernoulli(), SHAPE), StandardNormal(2))
    dims.append(3)
    assert vae_lab.load(vae_lab.save(model, tmp_path / "mine")).sample(1).shape == (1, *SHAPE)


def test_nothing_is_written_over(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for place in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(UserError, match="is there already; name a new folder"):
            vae_lab.save(small_vae(), place)
    assert [entry.name for entry in tmp_path.rglob("*")] == ["mine", "thesis.txt"]


class Wrapped(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder, self.posterior = encoder, encoder.posterior

    def forward(self, x):
        return self.encoder(x)


class OwnDecoder(MLPDecoder):
    pass


@pytest.mark.parametrize(
    ("encoder", "decoder", "said"),
    [
        (Wrapped(MLPEncoder(2, [8], SHAPE)), MLPDecoder(2, [8], Bernoulli(), SHAPE), "encoder=Wrapped: only parts"),
        (MLPEncoder(2, [8], SHAPE), OwnDecoder(2, [8], Bernoulli(), SHAPE), "OwnDecoder"),
    ],
)
def test_what_no_config_can_name_is_refused_and_leaves_nothing(tmp_path, encoder, decoder, said):
    with pytest.raises(UserError, match=said):
        vae_lab.save(VAE(encoder, decoder, StandardNormal(2)), tmp_path / "mine")
    assert not list(tmp_path.iterdir())
