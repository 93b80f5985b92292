"""Likelihoods: from the output of a decoder's network to the distribution p(x|z) over images."""

from vae_lab.likelihoods.base import Likelihood
from vae_lab.likelihoods.bernoulli import Bernoulli, ContinuousBernoulli
from vae_lab.likelihoods.discrete import Categorical, LogisticMixture
from vae_lab.likelihoods.gaussian import Gaussian

__all__ = ["Bernoulli", "Categorical", "ContinuousBernoulli", "Gaussian", "Likelihood", "LogisticMixture"]
