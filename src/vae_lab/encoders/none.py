"""No encoder: the place of one where q(z|x) is found for each image."""

from torch import Tensor

from vae_lab.annotations import Size
from vae_lab.encoders.base import Encoder
from vae_lab.posteriors import Posterior


class NoEncoder(Encoder):
    """q(z|x) = posterior(0) for every image, where gradient steps for each image start: ``inference=svi``.

    Args:
        latent_dim: length of z.
        posterior: family of q(z|x); None is a diagonal normal.

    >>> import torch
    >>> NoEncoder(latent_dim=2)(torch.rand(5, 1, 28, 28)).mean.shape
    torch.Size([5, 2])
    """

    has_network = False

    def __init__(self, latent_dim: Size, posterior: Posterior | None = None) -> None:
        super().__init__(latent_dim, posterior)

    def numbers(self, x: Tensor) -> Tensor:
        """Zeros, (batch, n), for images x (batch, channels, height, width) of any shape."""
        return x.new_zeros(len(x), self.posterior.inputs)
