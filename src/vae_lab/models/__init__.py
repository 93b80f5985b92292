"""Models: what a kind of model is made of, and how it draws."""

from vae_lab.models.autoregressive import Autoregressive
from vae_lab.models.base import Model
from vae_lab.models.conv_ladder import ConvLadder
from vae_lab.models.draws import Bounds, Draws, Latent
from vae_lab.models.gan import GAN
from vae_lab.models.mlp_ladder import MLPLadder
from vae_lab.models.vae import VAE

__all__ = ["GAN", "VAE", "Autoregressive", "Bounds", "ConvLadder", "Draws", "Latent", "MLPLadder", "Model"]
