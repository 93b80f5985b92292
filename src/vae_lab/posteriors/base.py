"""What every posterior head has."""

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.recorded import Recorded


class Posterior(Recorded, nn.Module):
    """A family of q(z|x).

    Args:
        latent_dim: length of z.
        inputs: number of outputs that the family needs from the network for each image.
    """

    def __init__(self, latent_dim: int, inputs: int) -> None:
        super().__init__()
        self.latent_dim, self.inputs = latent_dim, inputs

    def forward(self, numbers: Tensor) -> Distribution:
        """q(z|x), whose draws can be differentiated.

        Args:
            numbers: output of the network, (…, inputs).
        """
        raise NotImplementedError
