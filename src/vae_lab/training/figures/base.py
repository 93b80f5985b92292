"""When a figure is drawn, and where it is saved."""

import inspect
import logging
from pathlib import Path

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from matplotlib.figure import Figure

from vae_lab.annotations import Epochs
from vae_lab.data import ImageDataModule
from vae_lab.errors import NotOffered, is_ours, raised_by
from vae_lab.figures.style import Form
from vae_lab.models import Model
from vae_lab.models.parts import evaluating
from vae_lab.randomness import fixed_noise
from vae_lab.training.loggers import show
from vae_lab.training.model_module import ModelModule

OF_TRAINING = ("every_n_epochs", "at_improvements")  # arguments that say when a figure is drawn in a training

log = logging.getLogger(__name__)


class FigureCallback(Callback):
    """Draws one figure after the test, and every N epochs if set, with fixed images and fixed noise.

    It is saved as ``figures/NAME.png`` under the trainer's ``default_root_dir`` (``NAME_epoch_0010.png`` during
    training), and in TensorBoard if that is a logger. Only rank zero draws; the random state and the model's mode do
    not change. A figure that the model cannot give is left out.

    Args:
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name: str
    says_left_out = True
    """Whether a line in the log says that it was left out: not where few models can give it."""
    form = Form()
    """What it is saved as: a run's ``figures.format`` and ``figures.dpi``."""

    def __init__(self, every_n_epochs: Epochs = 0) -> None:
        self.every_n_epochs = every_n_epochs
        self.left_out = False

    def check(self, model: Model, data: ImageDataModule) -> None:
        """Refuse settings that these images or this model cannot have, before a training starts.

        Raises:
            ConfigError: names the key.
        """

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The figure of a model and the test images.

        Raises:
            NotOffered: if the model cannot give it.
        """
        raise NotImplementedError

    def name_for(self, model: Model) -> str:
        """Name of the figure's file for a model, without its ending."""
        return self.name

    def save(self, model: Model, data: ImageDataModule, place: Path) -> np.ndarray | None:
        """Draw the figure with fixed noise, and save it with its settings in its description.

        Args:
            model: model that is drawn.
            data: data module, set up.
            place: path of the file without its ending.

        Returns:
            The pixels, (height, width, 3), uint8; None where the model cannot give the figure.
        """
        try:
            with fixed_noise(0, model.device), torch.no_grad(), evaluating(model):
                figure = self.draw(model, data)
            if not isinstance(figure, Figure):
                raise TypeError(f"draw must return a matplotlib Figure, and returned {type(figure).__name__}")
        except NotOffered as reason:
            log.log(logging.INFO if self.says_left_out else logging.DEBUG, "%s: left out, %s", self.name, reason)
            self.left_out = True
            return None
        except Exception as error:
            module = type(self).__module__
            if is_ours(module):
                raise
            # a bug of theirs: it must not cost a trained model its other figures and its metrics
            log.warning("%s: left out, %s when it was drawn", self.name, raised_by(error, module))
            self.left_out = True
            return None
        return self.form.save(figure, place, self.about)

    @property
    def about(self) -> str:
        """The name of the figure and its settings, as the file's description has them."""
        names = [name for name in inspect.signature(type(self)).parameters if name not in OF_TRAINING]
        settings = [f"{name}={getattr(self, name)}" for name in names if getattr(self, name, None) is not None]
        return " ".join((self.name, *settings))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw during training."""
        if self.is_due(trainer, _model_of(pl_module)):
            self._draw(trainer, pl_module, f"_epoch_{trainer.current_epoch + 1:04d}")

    def is_due(self, trainer: Trainer, model: Model) -> bool:
        """Whether to draw at the end of this epoch of training."""
        return self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the finished model."""
        self._draw(trainer, pl_module)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, when: str = "") -> None:
        if not trainer.is_global_zero or self.left_out:
            return
        model, data = _model_of(pl_module), trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(pl_module, ModelModule)
        with pl_module.averaged():
            name = self.name_for(model)
            picture = self.save(model, data, Path(trainer.default_root_dir) / "figures" / f"{name}{when}")
        if picture is None:
            return
        show(trainer.loggers, f"figures/{name}", picture, trainer.current_epoch)


def _model_of(pl_module: LightningModule) -> Model:
    assert isinstance(pl_module.model, Model)
    return pl_module.model
