"""Likelihoods with one logit for each pixel: bits, and grey levels as real numbers."""

from torch import Tensor
from torch.distributions import Distribution

from vae_lab.distributions.continuous_bernoulli import ContinuousBernoulliImage, mean_of
from vae_lab.distributions.images import BernoulliImage
from vae_lab.likelihoods.base import Likelihood, logit, output_of_mean


class Bernoulli(Likelihood):
    """p(x|z) = Π_i y_i^{x_i} (1 − y_i)^{1 − x_i}, y = sigmoid(output).

    Its log-probability is computed from the logits and so is finite for every finite output. With grey
    levels in place of 0 and 1 the same expression is a cross-entropy, not a likelihood.

    >>> import torch
    >>> Bernoulli()(torch.zeros(2, 1, 28, 28)).log_prob(torch.ones(2, 1, 28, 28)) / (28 * 28)
    tensor([-0.6931, -0.6931])
    """

    pixel_range = (0.0, 1.0)

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from logits."""
        return BernoulliImage(output)

    def link(self, mean: Tensor) -> Tensor:
        """Logit of the mean."""
        return logit(mean)


class ContinuousBernoulli(Likelihood):
    """p(x|z) = Π_i C(l_i) exp(l_i x_i) over x in [0, 1], C(l) = l / (e^l − 1), with l the output.

    It is what the cross-entropy of grey levels lacks to be the log of a density: the constant C. A density of numbers,
    not a probability of levels, and without an upper bound: that of a pixel that is always black grows with |l|.

    Source: Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in variational autoencoders
    (2019), https://arxiv.org/abs/1907.06845

    >>> import torch
    >>> ContinuousBernoulli()(torch.zeros(2, 1, 28, 28)).log_prob(torch.rand(2, 1, 28, 28))
    tensor([0., 0.])
    """

    pixel_range = (0.0, 1.0)
    is_density = True

    def forward(self, output: Tensor) -> Distribution:
        """p(x|z) from l."""
        return ContinuousBernoulliImage(output)

    def link(self, mean: Tensor) -> Tensor:
        """l of the mean 1 / (1 − e^−l) − 1 / l, by bisection."""
        return output_of_mean(mean_of, mean)
