"""What a model needs from an encoder."""

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.posteriors import DiagonalNormal, Posterior
from vae_lab.recorded import Recorded


class Encoder(Recorded, nn.Module):
    """q(z|x) = posterior(network(x)).

    Args:
        latent_dim: length of z.
        posterior: family of q(z|x); None is a diagonal normal.

    Raises:
        ValueError: if the posterior is over codes of another length.
    """

    net: nn.Sequential
    image_shape: tuple[int, int, int] | None = None
    """(channels, height, width) of its images; None where it takes those of any shape."""
    has_network: bool = True
    """Whether its posterior depends on the image."""

    def __init__(self, latent_dim: int, posterior: Posterior | None) -> None:
        super().__init__()
        self.posterior = posterior or DiagonalNormal(latent_dim)
        if self.posterior.latent_dim != latent_dim:
            raise ValueError(f"its codes have length {latent_dim}, those of its posterior {self.posterior.latent_dim}")

    def numbers(self, x: Tensor) -> Tensor:
        """Output of the network for images x (batch, channels, height, width): what the posterior needs, (batch, n)."""
        return self.net(x)

    def forward(self, x: Tensor) -> Distribution:
        """The posterior of images x (batch, channels, height, width); its samples are (…, batch, latent)."""
        return self.posterior(self.numbers(x))
