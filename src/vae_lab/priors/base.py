"""What a model needs from a prior."""

from torch import nn
from torch.distributions import Distribution

from vae_lab.recorded import Recorded


class Prior(Recorded, nn.Module):
    """Calling it gives p(z)."""

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        raise NotImplementedError

    def bind(self, encoder: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Get the encoder, once, when the model is built. Most priors do not need it.

        Args:
            encoder: encoder of the same model.
            image_shape: (channels, height, width) of its images.
        """
