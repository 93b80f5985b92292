"""Losses: an estimator of the KL term, and the weight that the term has in training."""

from typing import Annotated, NamedTuple, Protocol

from pydantic import Field
from torch import Tensor, nn
from torch.distributions import Distribution, kl_divergence

from vae_lab.decoders import Decoder
from vae_lab.priors import Prior

Coefficient = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]
Epochs = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class NoClosedFormError(ValueError):
    """KL(q ‖ p) has no closed form for this pair of distributions."""


class Parts(Protocol):
    """The three parts that an ELBO is made of."""

    encoder: nn.Module
    decoder: Decoder
    prior: Prior


class Terms(NamedTuple):
    """The two terms of the NELBO, each (batch,) in nats, and their sum at coeff = 1."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def nelbo(self) -> Tensor:
        """−ELBO of each image, whatever coefficient training uses."""
        return self.reconstruction + self.kl


class Loss(nn.Module):
    """Mean over images of −E_q[log p(x|z)] + coeff · w · KL(q(z|x) ‖ p(z)), in nats.

    w climbs from 0 to 1 over the first ``warmup_epochs`` epochs and is 1 from then on; coeff · w = 1 is the
    negative ELBO, other values of coeff the β of Higgins et al., beta-VAE (2017).

    Args:
        coeff: weight of the KL term.
        samples: draws of z for each image.
        warmup_epochs: epochs over which the weight climbs (Bowman et al., 2016); 0 for none.
    """

    def __init__(self, coeff: Coefficient = 1.0, samples: Count = 1, warmup_epochs: Epochs = 0.0) -> None:
        super().__init__()
        self.coeff = coeff
        self.samples = samples
        self.warmup_epochs = warmup_epochs

    def kl(self, posterior: Distribution, prior: Distribution, z: Tensor) -> Tensor:
        """KL(q ‖ p) for each image, (batch,), from distributions or from z (sample, batch, latent)."""
        raise NotImplementedError

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Raise NoClosedFormError where this estimator cannot serve these distributions."""

    def forward(self, parts: Parts, x: Tensor) -> Terms:
        """Both terms for images x (batch, channels, height, width)."""
        posterior = parts.encoder(x)
        z = posterior.rsample((self.samples,))
        reconstruction = -parts.decoder(z).log_prob(x).mean(0)
        return Terms(reconstruction, self.kl(posterior, parts.prior(), z))

    def weight(self, epochs: float) -> float:
        """Weight of the KL term after that many epochs of training, a fraction included.

        >>> [SGVB(coeff=4.0, warmup_epochs=2).weight(epochs) for epochs in (0, 0.5, 2, 9)]
        [0.0, 1.0, 4.0, 4.0]
        """
        return self.coeff * (min(1.0, epochs / self.warmup_epochs) if self.warmup_epochs else 1.0)


class SGVB(Loss):
    """KL estimated by log q(z|x) − log p(z) at the sampled z: unbiased, and fit for every prior.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), equation 6.
    """

    def kl(self, posterior: Distribution, prior: Distribution, z: Tensor) -> Tensor:
        """Monte Carlo estimate of the KL from the samples of z."""
        return (posterior.log_prob(z) - prior.log_prob(z)).mean(0)


class KL(Loss):
    """KL in closed form, for two Gaussians ½ Σ(μ² + σ² − 1 − log σ²).

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), equation 7 and appendix B.
    """

    def kl(self, posterior: Distribution, prior: Distribution, z: Tensor) -> Tensor:  # noqa: ARG002
        """The exact KL; the samples are not needed."""
        return kl_divergence(posterior, prior)

    def check(self, posterior: Distribution, prior: Distribution) -> None:
        """Raise NoClosedFormError where torch knows no closed form."""
        try:
            kl_divergence(posterior, prior)
        except NotImplementedError as error:
            raise NoClosedFormError(f"no closed form of KL(q ‖ p) is known for this prior ({error})") from error
