"""A model of images without codes: each pixel given those before it."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from vae_lab.decoders import Decoder
from vae_lab.likelihoods import Likelihood
from vae_lab.models.border import Values
from vae_lab.models.decoded import Decoded
from vae_lab.models.draws import Draws


class Autoregressive(Decoded):
    """log p(x) = Σ_t log p(x_t | x_<t), exactly: the KL is 0, and any number of draws gives the same figure.

    Source: van den Oord et al., Pixel Recurrent Neural Networks (2016), https://arxiv.org/abs/1601.06759

    Args:
        decoder: gives p(x) when it is called with codes of length 0.

    Raises:
        ValueError: if the decoder takes codes.

    >>> from vae_lab.decoders import PixelCNNDecoder
    >>> from vae_lab.likelihoods import Bernoulli
    >>> model = Autoregressive(PixelCNNDecoder(0, Bernoulli(), (1, 6, 5), [8], layers=2, width=4))
    >>> model.sample(3).shape
    torch.Size([3, 1, 6, 5])
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__(decoder.image_shape)
        if getattr(decoder, "latent_dim", None) != 0:
            reason = "decoder=pixelcnn and decoder=transformer with decoder.latent_dim=0 do"
            raise ValueError(f"{type(decoder).__name__} does not work without codes; {reason}")
        self.decoder = decoder

    @property
    def likelihood_of_pixels(self) -> Likelihood:
        """The decoder's likelihood."""
        return self.decoder.likelihood

    @property
    def images_are(self) -> str:
        """Draws: there is no mean in closed form."""
        return "draws"

    def infer(self, x: Tensor) -> Tensor:
        """log p(x) of images x (batch, channels, height, width) in nats, (batch,): all that there is to know."""
        return self._images(x.shape[:1]).log_prob(x)

    def draw(self, inferred: Tensor, x: Tensor, k: int) -> Draws:  # noqa: ARG002
        """The same log p(x) for each of k draws of nothing."""
        return Draws([], inferred.expand(k, -1))

    def encode(self, x: Values) -> Tensor:  # noqa: ARG002
        """Refuse, before the images are looked at."""
        raise self._lack("codes")

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """n images drawn value by value, (n, channels, height, width)."""
        return self._images((n,)).sample()

    @torch.no_grad()
    def complete(self, x: Tensor, rows: int) -> Tensor:
        """Images whose first rows are those of x (batch, channels, height, width), and whose others are drawn."""
        return self._in_order(self._images(x.shape[:1])).sample_given(self.admit(x), rows)

    def _images(self, batch: tuple[int, ...]) -> Distribution:
        """p(x), as often as the batch shape says."""
        return self.decoder(self._any_tensor().new_zeros(*batch, 0))
