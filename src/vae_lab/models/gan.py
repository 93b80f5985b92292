"""The generative adversarial network: a decoder that a discriminator teaches."""

import torch
from torch import Tensor
from torch.nn import Parameter

from vae_lab.annotations import Positive
from vae_lab.decoders import Decoder
from vae_lab.discriminators import Discriminator
from vae_lab.distributions.summaries import has_mean
from vae_lab.errors import ConfigError
from vae_lab.models.border import Range
from vae_lab.models.decoded import DecodedCodes
from vae_lab.networks import normal_weights
from vae_lab.priors import Prior
from vae_lab.randomness import fixed_noise


class GAN(DecodedCodes):
    """G(z), z ~ p(z), with images that the discriminator D cannot tell from those of the data.

    G(z) is the mean of the decoder's p(x|z), with values in [0, 1]; there is no density of an image.

    Source: Goodfellow et al., Generative Adversarial Networks (2014), https://arxiv.org/abs/1406.2661

    Args:
        decoder: gives p(x|z) when it is called with codes.
        prior: gives p(z) when it is called.
        discriminator: gives a number for each image, (batch,), larger for those that look real.
        initial_sd: standard deviation of the decoder's weights at the start; None keeps the values' size from layer to
            layer. 0.02 is that of Radford et al., DCGAN (2016), https://arxiv.org/abs/1511.06434, whose layers are
            normalised: without that its images hardly depend on z at first, and are one image for long.

    Raises:
        ConfigError: if p(x|z) has no mean in [0, 1], or a part has parameters that change no image.
        ValueError: if the discriminator takes images of another shape.

    >>> from vae_lab.decoders import MLPDecoder
    >>> from vae_lab.discriminators import MLPDiscriminator
    >>> from vae_lab.likelihoods import Bernoulli
    >>> from vae_lab.priors import StandardNormal
    >>> shape = (1, 28, 28)
    >>> parts = MLPDecoder(2, [32], Bernoulli(), shape), StandardNormal(2), MLPDiscriminator([32], shape)
    >>> GAN(*parts).sample(4).shape
    torch.Size([4, 1, 28, 28])
    """

    criterion = "frechet_distance"

    def __init__(
        self, decoder: Decoder, prior: Prior, discriminator: Discriminator, initial_sd: Positive | None = None
    ) -> None:
        super().__init__(decoder.image_shape)
        # in this order: an optimiser's state in a checkpoint refers to parameters by number
        self.prior, self.decoder, self.discriminator = prior, decoder, discriminator
        if discriminator.image_shape != self.image_shape:
            raise ValueError(f"its images are {self.image_shape}, the discriminator's {discriminator.image_shape}")
        if decoder.likelihood.pixel_range != (0.0, 1.0):
            reason = "a GAN compares images in [0, 1], and its mean may lie outside; use bernoulli"
            raise ConfigError("likelihood", type(decoder.likelihood).__name__, reason)
        normal_weights(decoder, initial_sd)
        self._check_gradients()

    def _check_gradients(self) -> None:
        """Refuse parts whose parameters the discriminator could teach nothing."""
        try:
            with fixed_noise(0, self.device), torch.enable_grad():
                images = self.decoder(self._codes(2))
                if not has_mean(images):
                    reason = "its images have no mean, and draws of pixels have no gradient; leave masked_kernel out"
                    raise ConfigError("decoder", type(self.decoder).__name__, f"{reason}, or use mlp or conv")
                total = images.mean.sum()
        except AttributeError as error:  # a prior that was bound to no encoder
            raise ConfigError("prior", type(self.prior).__name__, f"needs an encoder ({error})") from error
        for name, part in (("prior", self.prior), ("decoder", self.decoder)):
            weights = [weight for weight in part.parameters() if weight.requires_grad]
            found = torch.autograd.grad(total, weights, retain_graph=True, allow_unused=True) if weights else ()
            if any(gradient is None for gradient in found):
                has = "parameters that change no image of a GAN, or without a gradient, so that they would not learn"
                raise ConfigError(name, type(part).__name__, f"has {has}; use another {name} or likelihood")

    def generator_weights(self) -> list[Parameter]:
        """The weights of the decoder and the prior that learn."""
        return [weight for part in (self.decoder, self.prior) for weight in part.parameters() if weight.requires_grad]

    averaged_weights = generator_weights  # only they make images

    def generate(self, n: int) -> Tensor:
        """n images G(z) of draws z from the prior, (n, channels, height, width) in [0, 1], with their gradient."""
        return self.decoder(self._codes(n)).mean

    def _codes(self, n: int) -> Tensor:
        """n draws from the prior, (n, latent), with a gradient where it has one."""
        p = self.prior()
        return p.rsample((n,)) if p.has_rsample else p.sample((n,))

    @property
    def pixel_range(self) -> Range:
        """Grey levels from 0 to 1."""
        return 0.0, 1.0

    def measure(self, x: Tensor) -> dict[str, Tensor]:
        """The discriminator's outputs of images x (batch, channels, height, width) and of as many samples."""
        return {"d_real": self.discriminator(x), "d_fake": self.discriminator(self.generate(len(x)))}
