"""What a model needs to know of a prior beside calling it."""

from torch import nn
from torch.distributions import Distribution


class Prior(nn.Module):
    """Calling it gives p(z)."""

    def forward(self) -> Distribution:
        """The prior; its samples are (…, latent)."""
        raise NotImplementedError

    def bind(self, encoder: nn.Module, image_shape: tuple[int, ...]) -> None:
        """Meet the encoder, once, when the model is built. Most priors do not need it.

        Args:
            encoder: of the same model.
            image_shape: (channels, height, width) of what it takes.
        """
