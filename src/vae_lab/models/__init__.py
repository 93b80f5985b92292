"""Models, made of encoder, decoder and prior."""

from vae_lab.models.base import Model
from vae_lab.models.draws import Bounds, Draws, Latent
from vae_lab.models.vae import VAE

__all__ = ["VAE", "Bounds", "Draws", "Latent", "Model"]
