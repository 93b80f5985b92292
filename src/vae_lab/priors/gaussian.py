"""The prior without parameters."""

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from vae_lab.annotations import Size
from vae_lab.priors.base import Prior


class StandardNormal(Prior):
    """p(z) = N(z; 0, I).

    Args:
        latent_dim: length of z.

    >>> StandardNormal(latent_dim=2)().log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: Size) -> None:
        super().__init__()
        # buffers, so that they move to the model's device and precision; not saved, since they never change
        self.register_buffer("mean", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        return Independent(Normal(self.mean, self.scale, validate_args=False), 1, validate_args=False)
