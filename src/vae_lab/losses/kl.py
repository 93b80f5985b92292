"""Losses with a KL term: the negative ELBO and its relatives."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from vae_lab.annotations import Draws as DrawCount
from vae_lab.annotations import NotNegative
from vae_lab.losses.base import Loss, Outcome, Weight, check_samples, trial_images
from vae_lab.models import Draws, Model


class NoClosedFormError(ValueError):
    """KL(q ‖ p) has no closed form for this pair of distributions."""


class KLLoss(Loss, ABC):
    """Mean over images of −E_q[log p(x|z)] + coeff · w · KL(q(z|x) ‖ p(z)), in nats, with free bits if wanted.

    w climbs from 0 to 1 over the first ``warmup_epochs`` epochs and is 1 from then on; coeff · w = 1 is the
    negative ELBO, other values of coeff are the β of Higgins et al., beta-VAE (2017),
    https://openreview.net/forum?id=Sy2fzU9gl

    With free bits λ > 0 the KL becomes Σ_l max(λ, mean over the batch of KL_l) over the latent variables z_l: below λ
    nothing pushes the information in z_l down. The reported KL is the true one. Source: Kingma et al., Improving
    Variational Inference with Inverse Autoregressive Flow (2016), appendix C.8, https://arxiv.org/abs/1606.04934

    Args:
        coeff: weight of the KL term.
        samples: number of draws of z for each image.
        warmup_epochs: number of epochs over which w climbs; 0 for none. Source: Bowman et al., Generating Sentences
            from a Continuous Space (2016), https://arxiv.org/abs/1511.06349
        free_bits: λ, in nats, of each latent variable; 0 for none.
    """

    def __init__(
        self,
        coeff: NotNegative = 1.0,
        samples: DrawCount = 1,
        warmup_epochs: NotNegative = 0.0,
        free_bits: NotNegative = 0.0,
    ) -> None:
        super().__init__()
        check_samples(samples)
        self.coeff, self.samples, self.warmup_epochs, self.free_bits = coeff, samples, warmup_epochs, free_bits

    @abstractmethod
    def kls(self, draws: Draws) -> list[Tensor]:
        """KL(q ‖ p) of each latent variable in nats, (batch,) each, the topmost first."""

    def weight(self, epochs: float) -> float:
        """Weight of the KL term after that many epochs of training, a fraction included.

        >>> [SGVB(coeff=4.0, warmup_epochs=2).weight(epochs) for epochs in (0, 0.5, 2, 9)]
        [0.0, 1.0, 4.0, 4.0]
        """
        return self.coeff * (min(1.0, epochs / self.warmup_epochs) if self.warmup_epochs else 1.0)

    def check(self, model: Model) -> None:
        """Raise NotOffered where the model has no likelihood, NoClosedFormError where its KL has no closed form."""
        try:
            with trial_images(model) as x:
                self.kls(model.draw(model.infer(x), x, 1))
        except NotImplementedError as error:
            raise NoClosedFormError(f"no closed form of KL(q ‖ p) is known for this model ({error})") from error

    def forward(self, model: Model, x: Tensor, weight: Weight = None, stage: str = "model") -> Outcome:  # noqa: ARG002
        """The weighted loss, and the terms at coeff = 1."""
        draws = model.draw(model.infer(x), x, self.samples)
        kls = self.kls(draws)
        terms = draws.terms(kls)
        weight = self.weight(math.inf) if weight is None else weight
        if not (self.free_bits and kls):
            return Outcome((terms["reconstruction"] + weight * terms["kl"]).mean(), terms)
        paid = torch.stack([kl.mean() for kl in kls]).clamp(min=self.free_bits).sum()
        return Outcome(terms["reconstruction"].mean() + weight * paid, terms)


class SGVB(KLLoss):
    """KL estimated by log q(z|x) − log p(z) at the drawn z: unbiased, for every posterior and prior.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), equation 6, https://arxiv.org/abs/1312.6114
    """

    def kls(self, draws: Draws) -> list[Tensor]:
        """Monte Carlo estimates from the draws in nats, (batch,) each."""
        return draws.sampled_kls


class KL(KLLoss):
    """KL in closed form, for two Gaussians ½ Σ(μ² + σ² − 1 − log σ²).

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), equation 7 and appendix B,
    https://arxiv.org/abs/1312.6114
    """

    def kls(self, draws: Draws) -> list[Tensor]:
        """The exact KL in nats, (batch,) each; with several layers, that of each layer given the layers above it."""
        return draws.closed_kls
