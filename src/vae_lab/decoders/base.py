"""What a model needs from a decoder."""

import math

from torch import Tensor, nn
from torch.distributions import Distribution

from vae_lab.annotations import ImageShape
from vae_lab.errors import NotOffered
from vae_lab.likelihoods import Likelihood
from vae_lab.recorded import Recorded


class Decoder(Recorded, nn.Module):
    """p(x|z) = likelihood(network(z)).

    Args:
        likelihood: turns the network's output into a distribution over images.
        image_shape: (channels, height, width) of the images.
    """

    net: nn.Sequential

    def __init__(self, likelihood: Likelihood, image_shape: ImageShape) -> None:
        super().__init__()
        self.likelihood = likelihood
        self.image_shape = image_shape[0], image_shape[1], image_shape[2]
        self.output_shape = likelihood.outputs * image_shape[0], image_shape[1], image_shape[2]

    def forward(self, z: Tensor) -> Distribution:
        """p(x|z) of codes z (…, latent); its samples are (…, channels, height, width)."""
        output = self.net(z.reshape(-1, z.shape[-1]))
        return self.likelihood(output.view(*z.shape[:-1], *self.output_shape))

    @property
    def values_of_image(self) -> int:
        """Number of values that the decoder keeps for an image, by which it is said how many are decoded at once."""
        return self.likelihood.outputs * math.prod(self.image_shape)

    def of_size(self, z: Tensor, height: int, width: int) -> Distribution:
        """p(x|z) of codes z (…, latent) for images of another size than those of training.

        Args:
            z: codes, (…, latent).
            height: number of rows of pixels.
            width: number of columns of pixels.

        Raises:
            NotOffered: if the decoder gives images of one size.
        """
        raise NotOffered(f"{type(self).__name__} gives images of one size; decoder=coordinate gives every size")

    def start_at(self, mean_image: Tensor) -> None:
        """Set the output bias so that the mean of an untrained decoder is about that of the data.

        Source: Burda et al., Importance Weighted Autoencoders (2016), section 5, https://arxiv.org/abs/1509.00519

        Args:
            mean_image: average training image, (channels, height, width), in [0, 1].

        Raises:
            NotOffered: if the decoder has no such bias.
        """
        raise NotOffered(f"{type(self).__name__} has no output bias that could start at the data's mean")

    def _output_at(self, mean_image: Tensor) -> Tensor:
        """Outputs of every pixel whose distribution has the mean over all pixels, (outputs × channels, 1, 1)."""
        return self.likelihood.link(mean_image.mean((1, 2), keepdim=True))

    def _start_net_at(self, output: Tensor) -> None:
        """Set the bias of the network's last layer to outputs of any shape."""
        bias = self.net[-1].bias
        assert isinstance(bias, Tensor)
        bias.data.copy_(output.flatten())
