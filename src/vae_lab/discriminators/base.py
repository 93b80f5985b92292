"""What a GAN needs from a discriminator."""

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vae_lab.annotations import ImageShape
from vae_lab.networks import normal_weights
from vae_lab.recorded import Recorded

SLOPE = 0.2  # of the leaky ReLU below zero
SD = 0.02  # of the weights at the start


class Discriminator(Recorded, nn.Module):
    """D(x) = network(x), with leaky ReLUs of slope 0.2 between layers whose weights start at draws of N(0, 0.02²).

    With spectral normalisation each weight matrix is divided by its largest singular value, by one step of the power
    method at each use in training: then |D(x) − D(y)| ≤ |x − y|, apart from the factors of overlapping convolutions.

    Source: Radford et al., Unsupervised Representation Learning with DCGAN (2016), https://arxiv.org/abs/1511.06434,
    and Miyato et al., Spectral Normalization for GANs (2018), https://arxiv.org/abs/1802.05957

    Args:
        layers: layers with weights and those between them, from the image to one number.
        image_shape: (channels, height, width) of the images.
        normalised: whether the weights of all layers are divided by their largest singular value.
    """

    def __init__(self, layers: Iterable[nn.Module], image_shape: ImageShape, normalised: bool) -> None:
        super().__init__()
        self.image_shape = image_shape[0], image_shape[1], image_shape[2]
        self.net = nn.Sequential(*layers)
        normal_weights(self.net, SD)
        for layer in self.net if normalised else ():
            if hasattr(layer, "weight"):
                spectral_norm(layer)

    def forward(self, x: Tensor) -> Tensor:
        """D of images x (batch, channels, height, width): a logit, or a score without unit, (batch,)."""
        return self.net(x).squeeze(1)
