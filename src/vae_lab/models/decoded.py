"""What kinds of models with one decoder have in common."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.decoders import Decoder
from vae_lab.distributions.autoregressive import AutoregressiveImage
from vae_lab.models.base import Model
from vae_lab.priors import Prior


class Decoded(Model):
    """A model whose images come from one decoder, an attribute that its constructor sets."""

    decoder: Decoder

    @property
    def needs_bits(self) -> bool:
        """Whether every pixel must be 0 or 1."""
        return getattr(self.decoder, "needs_bits", False)

    @property
    def rows_at_once(self) -> int:
        """What the number of rows that ``complete`` keeps is a multiple of."""
        return getattr(self.decoder, "rows_at_once", 1)

    @property
    def values_of_image(self) -> int:
        """Number of values that the decoder keeps for an image; a decoder of another package may not say it."""
        return getattr(self.decoder, "values_of_image", super().values_of_image)

    def start_at(self, mean_image: Tensor) -> None:
        """Start the decoder's output bias at the data's mean image."""
        self.decoder.start_at(self.admit(mean_image, one_batch=False, bits=False))

    def _in_order(self, images: Distribution) -> AutoregressiveImage:
        """The same distribution over images, as one that draws value by value; NotOffered where it does not."""
        if not isinstance(images, AutoregressiveImage):
            raise self._lack("images that are drawn in order")
        return images


class DecodedCodes(Decoded):
    """A model that decodes codes of a prior, two attributes that its constructor sets."""

    prior: Prior

    def draw_codes(self, n: int) -> Tensor:
        """n draws from the prior, (n, latent)."""
        with torch.no_grad():
            return self.prior().sample((n,))

    def images_given(self, z: Tensor) -> Distribution:
        """p(x|z) of codes z (…, latent)."""
        return self.decoder(z)

    def images_of_size(self, z: Tensor, height: int, width: int) -> Distribution:
        """p(x|z) of codes z (…, latent) for images of another height and width, in pixels."""
        return self.decoder.of_size(z, height, width)
