"""Priors: calling one gives p(z), a distribution over latent vectors."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from vae_lab.networks import Width


class StandardNormal(nn.Module):
    """p(z) = N(z; 0, I).

    Args:
        latent_dim: length of z.

    >>> StandardNormal(latent_dim=2)().log_prob(torch.zeros(2))
    tensor(-1.8379)
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, latent_dim: Width) -> None:
        super().__init__()
        # buffers, so that they move to the model's device and precision; not saved, since they never change
        self.register_buffer("mean", torch.zeros(latent_dim), persistent=False)
        self.register_buffer("scale", torch.ones(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        return Independent(Normal(self.mean, self.scale, validate_args=False), 1, validate_args=False)


class Mixture(nn.Module):
    """p(z) = Σ_k π_k N(z; m_k, diag s_k²), with learned weights π, means m and scales s.

    The components start at draws of N(0, I), apart from each other, with equal weights and unit scales.

    Source: Tomczak and Welling, VAE with a VampPrior (2018), section 3 ("MoG").

    Args:
        latent_dim: length of z.
        components: K.

    >>> Mixture(latent_dim=2, components=3)().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: Width, components: Width = 10) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(components))
        self.means = nn.Parameter(torch.randn(components, latent_dim))
        self.log_scales = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        return MixtureSameFamily(
            Categorical(logits=self.logits, validate_args=False),
            Independent(Normal(self.means, self.log_scales.exp(), validate_args=False), 1, validate_args=False),
            validate_args=False,
        )
