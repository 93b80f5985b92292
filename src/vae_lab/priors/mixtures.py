"""Priors that are mixtures: of free Gaussians, or of the posteriors of learned images."""

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from vae_lab.annotations import Size
from vae_lab.priors.base import Prior


class Mixture(Prior):
    """p(z) = Σ_k π_k N(z; m_k, diag s_k²), with learned weights π, means m and scales s.

    The components start at draws of N(0, I), apart from each other, with equal weights and unit scales.

    Source: Tomczak and Welling, VAE with a VampPrior (2018), section 3 ("MoG"), https://arxiv.org/abs/1705.07120

    Args:
        latent_dim: length of z.
        components: number K of Gaussians.

    >>> Mixture(latent_dim=2, components=3)().sample((5,)).shape
    torch.Size([5, 2])
    """

    def __init__(self, latent_dim: Size, components: Size = 10) -> None:
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


class Vamp(Prior):
    """p(z) = 1/K Σ_k q(z|u_k): the mixture of the posteriors of K learned pseudo-inputs u.

    The pseudo-inputs are grey images, sigmoid(values) with values that start at draws of N(−2, 1): about as
    dark as digits.

    Source: Tomczak and Welling, VAE with a VampPrior (2018), https://arxiv.org/abs/1705.07120

    Args:
        components: number K of pseudo-inputs.

    >>> from vae_lab.encoders import MLPEncoder
    >>> prior = Vamp(components=3)
    >>> prior.bind(MLPEncoder(2, [8], (1, 28, 28)), (1, 28, 28))
    >>> prior().sample((5,)).shape
    torch.Size([5, 2])
    """

    values: Tensor

    def __init__(self, components: Size = 500) -> None:
        super().__init__()
        self.components = components

    def bind(self, encoder: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Keep the encoder, without registering its parameters again, and make the pseudo-inputs.

        Raises:
            ValueError: if the encoder has no network, so that all pseudo-inputs would have one posterior.
        """
        if not getattr(encoder, "has_network", True):
            raise ValueError("its components are posteriors of pseudo-inputs, and no network gives them")
        self._encoder = [encoder]  # in a list: a module that is an attribute is saved and counted again
        self.values = nn.Parameter(torch.randn(self.components, *image_shape) - 2)

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        posteriors = self._encoder[0](self.values.sigmoid())
        return MixtureSameFamily(
            Categorical(logits=self.values.new_zeros(self.components), validate_args=False),
            posteriors,
            validate_args=False,
        )
