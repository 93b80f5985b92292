"""The variational auto-encoder: one latent vector, one encoder, one decoder, one prior."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.decoders import Decoder
from vae_lab.distributions.summaries import centre
from vae_lab.encoders import Encoder
from vae_lab.inference import Amortized, Inference
from vae_lab.likelihoods import Likelihood
from vae_lab.models.decoded import DecodedCodes
from vae_lab.models.draws import Draws, Latent
from vae_lab.models.parts import PartError, evaluating, first_call
from vae_lab.priors import Prior

ROUNDS = 3  # of drawing a code and then the rest of an image, until both fit


class VAE(DecodedCodes):
    """log p(x) ≥ E_q(z|x)[log p(x|z)] − KL(q(z|x) ‖ p(z)).

    Source: Kingma and Welling, Auto-Encoding Variational Bayes (2014), https://arxiv.org/abs/1312.6114

    Args:
        encoder: gives q(z|x) when it is called with images.
        decoder: gives p(x|z) when it is called with codes.
        prior: gives p(z) when it is called.
        inference: where the numbers that name q(z|x) come from; None takes the encoder's as they are.

    Raises:
        ValueError, RuntimeError: if a part does not accept the output of another.

    >>> from vae_lab.decoders import MLPDecoder
    >>> from vae_lab.encoders import MLPEncoder
    >>> from vae_lab.likelihoods import Bernoulli
    >>> from vae_lab.priors import StandardNormal
    >>> shape = (1, 28, 28)
    >>> model = VAE(MLPEncoder(2, [32], shape), MLPDecoder(2, [32], Bernoulli(), shape), StandardNormal(2))
    >>> model.sample(4).shape
    torch.Size([4, 1, 28, 28])
    """

    inference: Inference = Amortized()

    def __init__(self, encoder: Encoder, decoder: Decoder, prior: Prior, inference: Inference | None = None) -> None:
        super().__init__(decoder.image_shape)
        # in this order: an optimiser's state in a checkpoint refers to parameters by number
        self.encoder, self.prior, self.decoder = encoder, prior, decoder
        self.inference = inference or self.inference
        if self.inference.takes_encoder != getattr(encoder, "has_network", True):
            has, way = "with" if self.inference.takes_encoder else "without", type(self.inference).__name__
            raise ValueError(f"inference by {way} works {has} the network of an encoder")
        of_encoder = getattr(encoder, "image_shape", None) or self.image_shape
        if of_encoder != self.image_shape:
            raise ValueError(f"the encoder's images are {of_encoder}, the decoder's {self.image_shape}")
        prior.bind(encoder, self.image_shape)
        with torch.no_grad(), evaluating(self):  # batch norm in training has no variance of one image
            q = first_call("encoder", encoder, torch.zeros(1, *self.image_shape))
            p = first_call("prior", prior)
            _check_length(encoder, q)
            if q.event_shape != p.event_shape:
                raise ValueError(f"the encoder's codes are {tuple(q.event_shape)}, the prior's {tuple(p.event_shape)}")
            image = decoder(torch.zeros(1, *q.event_shape)).event_shape
            if len(image) == 3 and image != self.image_shape:
                raise ValueError(f"the likelihood's images are {tuple(image)}, the decoder's {self.image_shape}")

    @property
    def likelihood_of_pixels(self) -> Likelihood | None:
        """The decoder's likelihood; a decoder of another package may have none."""
        return getattr(self.decoder, "likelihood", None)

    def infer(self, x: Tensor) -> Distribution:
        """The posterior q(z|x) of images x (batch, channels, height, width)."""
        return self.encoder(x) if isinstance(self.inference, Amortized) else super().infer(x)

    def numbers_of(self, x: Tensor) -> Tensor:
        """What ``inference`` makes of the encoder's numbers for images x (batch, channels, height, width)."""
        # in parts: a step of an inference keeps the activations of decoded images
        parts = [x] if isinstance(self.inference, Amortized) else x.split(self.at_once)
        return torch.cat([self.inference.refine(self.encoder.numbers(part), part, self._elbo) for part in parts])

    def _elbo(self, numbers: Tensor, x: Tensor) -> Tensor:
        """ELBO of each image from one draw, in nats, (batch,), under q of numbers (batch, numbers)."""
        return -self.draw(self.inferred_from(numbers), x, 1).terms()["nelbo"]

    def inferred_from(self, numbers: Tensor) -> Distribution:
        """The posterior q(z|x) of each image, from numbers (batch, numbers)."""
        return self.encoder.posterior(numbers)

    def draw(self, inferred: Distribution, x: Tensor, k: int) -> Draws:
        """k draws of z for each image, with their densities."""
        latent = Latent(inferred, self.prior(), (k,))
        return Draws([latent], self.decoder(latent.z).log_prob(x))

    def densities(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(x|z) in nats, (…, batch) each, of codes z (…, batch, latent)."""
        return self.prior().log_prob(z), self.decoder(z).log_prob(x)

    def codes_of(self, inferred: Distribution) -> Tensor:
        """Centre of each posterior, (batch, latent)."""
        return centre(inferred)

    @torch.no_grad()
    def complete(self, x: Tensor, rows: int) -> Tensor:
        """Images whose first rows are those of images x, and whose other values are drawn given them and a code.

        A Markov chain of ROUNDS steps from images with black other rows, each z ~ q(z|x) and then those rows from
        p(x|z, first rows): about a draw given the first rows alone. Source: Rezende et al., Stochastic Backpropagation
        and Approximate Inference in Deep Generative Models (2014), appendix F, https://arxiv.org/abs/1401.4082
        """
        x = self.admit(x).clone()
        x[:, :, rows:] = 0
        for _ in range(ROUNDS):
            x = self._in_order(self.images_given(self.infer(x).sample())).sample_given(x, rows)
        return x


def _check_length(encoder: Encoder, q: Distribution) -> None:
    """Refuse a posterior over codes of another length than it says."""
    posterior = getattr(encoder, "posterior", None)  # an encoder of another package may have none
    if posterior is None or q.event_shape == (posterior.latent_dim,):
        return
    found = f"its codes have length {q.event_shape[0]}, and its latent_dim is {posterior.latent_dim}"
    numbers = f"does the network give as many numbers as it asks for, inputs={posterior.inputs}, and are these enough?"
    raise PartError("encoder", f"its posterior is a {type(posterior).__name__}, and {found}; {numbers}")
