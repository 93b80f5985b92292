"""The figure of what a discriminator says of real images and of samples."""

from matplotlib.figure import Figure

from vae_lab.annotations import Epochs, Size
from vae_lab.data import ImageDataModule
from vae_lab.errors import NotOffered
from vae_lab.figures import curves
from vae_lab.models import Model
from vae_lab.training.figures import FigureCallback


class DiscriminatorOutputs(FigureCallback):
    """Histograms of the discriminator's outputs of test images and of as many samples.

    Args:
        images: number of test images.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "discriminator_outputs"

    def __init__(self, images: Size = 2000, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.images = images

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """Both histograms."""
        found = model.measure(data.test_images[: self.images])
        if not {"d_real", "d_fake"} <= found.keys():
            raise NotOffered(f"{type(model).__name__} does not have a discriminator")
        return curves.outputs_of_discriminator(found["d_real"].float().cpu(), found["d_fake"].float().cpu())
