"""Figures of what was measured in training and of what a discriminator says."""

from lightning import LightningModule, Trainer
from matplotlib.figure import Figure

from vae_lab.annotations import Epochs, Size
from vae_lab.data import ImageDataModule
from vae_lab.errors import NotOffered
from vae_lab.figures import curves
from vae_lab.models import Model
from vae_lab.training.figures.base import FigureCallback


class NelboByEpoch(FigureCallback):
    """NELBO and its terms by epoch, training and validation; all figures for a model with another criterion.

    Args:
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "nelbo"

    def name_for(self, model: Model) -> str:
        """What runs of this model are chosen by; the key of the callback is nelbo for all."""
        return model.criterion

    def is_due(self, trainer: Trainer, model: Model) -> bool:  # noqa: ARG002
        """Never at the end of an epoch: the model's history gets the epoch after the callbacks have run."""
        return False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the epochs before this one."""
        done = trainer.current_epoch
        if self.every_n_epochs and done and done % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, f"_epoch_{done:04d}")

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """The model's history."""
        return curves.by_epoch(model.history, model.criterion)


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
