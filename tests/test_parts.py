"""A part of another package that does not do what a model asks of it is named in one line."""

import re
import sys

import pytest
import torch
from hydra.errors import InstantiationException
from omegaconf import OmegaConf
from torch.distributions import Independent, Normal

from helpers import SHAPE
from vae_lab.complaints import complaint
from vae_lab.config.build import build
from vae_lab.config.hints import hints_of
from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.errors import ConfigError
from vae_lab.likelihoods import Bernoulli
from vae_lab.models import VAE
from vae_lab.models.parts import PartError
from vae_lab.posteriors import Posterior
from vae_lab.priors import Prior, StandardNormal

OTHER = """
from omegaconf import OmegaConf
from torch.distributions import Normal
from vae_lab.annotations import Size
from vae_lab.priors import Prior

class Misspelt(Prior):
    def __init__(self, latent_dim: Size) -> None:
        super().__init__()

    def forward(self):
        return Normal(self.latent_dims, 1.0)

class Broken(Prior):
    def __init__(self, latent_dim: Size) -> None:
        super().__init__()
        1 / 0

def function(known: Size, unknown: "Nowhere", **options) -> None: ...
"""


class NoForward(Prior):
    """Has nothing of its own."""


class GivesTensor(Prior):
    def forward(self):
        return torch.zeros(2)


class NumberByNumber(Prior):
    def forward(self):
        return Normal(torch.zeros(2), 1.0)


class TooFewNumbers(Posterior):
    def __init__(self) -> None:
        super().__init__(2, inputs=2)

    def forward(self, numbers):
        mean, log_scale = numbers.chunk(2, dim=-1)
        return Independent(Normal(mean, log_scale.exp()), 1)


@pytest.fixture
def otherlab(tmp_path, monkeypatch):
    """A module of another package."""
    (tmp_path / "otherlab.py").write_text(OTHER)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield "otherlab"
    sys.modules.pop("otherlab", None)


def vae(prior, posterior=None) -> VAE:
    return VAE(MLPEncoder(2, [8], SHAPE, posterior=posterior), MLPDecoder(2, [8], Bernoulli(), SHAPE), prior)


@pytest.mark.parametrize(
    ("prior", "says"),
    [
        (NoForward(), "NoForward has no forward of its own"),
        (GivesTensor(), "gave a Tensor when it was called, and must give a torch.distributions.Distribution"),
        (NumberByNumber(), "an event of its distribution is (), and must be one vector z"),
    ],
)
def test_a_prior_that_gives_something_else_is_named(prior, says):
    with pytest.raises(PartError, match=re.escape(says)) as found:
        vae(prior)
    assert found.value.part == "prior"


def test_a_posterior_over_other_codes_than_it_says_is_named():
    with pytest.raises(PartError, match=r"TooFewNumbers, and its codes have length 1, .* inputs=2"):
        vae(StandardNormal(2), TooFewNumbers())


def test_what_another_package_raises_is_one_line_with_its_place(otherlab):
    other = __import__(otherlab)
    says = r"^raised AttributeError \(.*'latent_dims'\) in otherlab\.py, line 12, when it was called$"
    with pytest.raises(PartError, match=says):
        vae(other.Misspelt(2))
    node = OmegaConf.create({"_target_": f"{otherlab}.Broken", "latent_dim": 2})
    says = r"^prior=Broken: raised ZeroDivisionError \(division by zero\) in otherlab\.py, line 17, when it was made$"
    with pytest.raises(ConfigError, match=says):
        build(node, "prior")


def test_an_error_of_a_constructor_is_not_taken_for_one_of_the_command_line():
    error = InstantiationException("Error in call to target 'a.B': KeyError('x')")
    line = complaint(error, ["--config-dir", "conf"])
    assert line == "Error in call to target 'a.B': KeyError('x')"


def test_an_annotation_that_cannot_be_looked_up_leaves_the_others_checked(otherlab):
    hints = hints_of(__import__(otherlab).function)
    assert "known" in hints
    assert "unknown" not in hints
