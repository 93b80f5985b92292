"""Callbacks that draw figures: when, of what, and where they are saved."""

import logging
import math
from pathlib import Path
from typing import Literal

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.annotations import Cells, Epochs, Positive
from vae_lab.data import ImageDataModule
from vae_lab.errors import NotOffered
from vae_lab.figures import curves, images, latent
from vae_lab.figures.style import render
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.training.model_module import ModelModule

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

    def __init__(self, every_n_epochs: Epochs = 0) -> None:
        self.every_n_epochs = every_n_epochs
        self.left_out = False

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The figure of a model and the test images.

        Raises:
            NotOffered: if the model cannot give it.
        """
        raise NotImplementedError

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw during training."""
        if self.is_due(trainer, _model_of(pl_module)):
            self._draw(trainer, pl_module, f"{self.name}_epoch_{trainer.current_epoch + 1:04d}")

    def is_due(self, trainer: Trainer, model: Model) -> bool:  # noqa: ARG002
        """Whether to draw at the end of this epoch of training."""
        return self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the finished model."""
        self._draw(trainer, pl_module, self.name)

    def _draw(self, trainer: Trainer, pl_module: LightningModule, file_name: str) -> None:
        if not trainer.is_global_zero or self.left_out:
            return
        model, data = _model_of(pl_module), trainer.datamodule  # type: ignore[attr-defined]
        is_training = model.training
        model.eval()
        assert isinstance(pl_module, ModelModule)
        try:
            with fixed_noise(0, model.device), torch.no_grad(), pl_module.averaged():
                figure = self.draw(model, data)
        except NotOffered as reason:
            log.log(logging.INFO if self.says_left_out else logging.DEBUG, "%s: left out, %s", self.name, reason)
            self.left_out = True
            return
        finally:
            model.train(is_training)
        picture = render(figure, Path(trainer.default_root_dir) / "figures" / f"{file_name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                step = trainer.current_epoch
                logger.experiment.add_image(f"figures/{self.name}", picture, step, dataformats="HWC")


class Reconstructions(FigureCallback):
    """The first test images above their reconstructions, sorted by label where they have labels.

    Args:
        n: number of images.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "reconstructions"

    def __init__(self, n: Cells = 20, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n = n

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The first n test images, sorted by label."""
        chosen = data.test_images[: self.n]
        if data.labels is not None:
            chosen = chosen[data.test_labels[: self.n].argsort(stable=True)]
        return images.reconstructions(chosen, model.reconstruct(chosen), model.images_are)


class PriorSamples(FigureCallback):
    """Images decoded from draws of the prior.

    Args:
        rows: rows of images in the picture.
        columns: columns of images in the picture.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
        at_improvements: draw also at each epoch whose criterion, measured in validation, is the best so far.
    """

    name = "samples"

    def __init__(
        self, rows: Cells = 10, columns: Cells = 20, every_n_epochs: Epochs = 0, at_improvements: bool = False
    ) -> None:
        super().__init__(every_n_epochs)
        self.rows, self.columns, self.at_improvements = rows, columns, at_improvements

    def is_due(self, trainer: Trainer, model: Model) -> bool:
        """Every N epochs, and at improvements if ``at_improvements`` is set."""
        name = f"val/{model.criterion}"
        value = trainer.callback_metrics.get(name)
        best = min((row[name] for row in model.history if name in row), default=math.inf)
        improved = self.at_improvements and value is not None and value.item() < best
        return improved or super().is_due(trainer, model)

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """A rows × columns picture of samples."""
        return images.samples(model.sample(self.rows * self.columns), self.columns, model.images_are)


class LadderSamples(FigureCallback):
    """Samples of a ladder whose upper k layers are held at one draw, a row for each k.

    Args:
        columns: number of samples in each row.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "ladder_samples"
    says_left_out = False

    def __init__(self, columns: Cells = 12, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.columns = columns

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """From rows that have nothing in common to a row of one image."""
        return images.layers(model.samples_with_fixed(self.columns))


class Completions(FigureCallback):
    """Test images whose lower half is drawn given the upper half, by models that draw images in order.

    Args:
        n: number of test images.
        draws: number of completions of each.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "completions"
    says_left_out = False

    def __init__(self, n: Cells = 10, draws: Cells = 5, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n, self.draws = n, draws

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The first n test images, what is kept of them, and the completions."""
        originals = data.test_images[: self.n]
        rows = originals.shape[-2] // 2
        rows -= rows % model.rows_at_once
        drawn = model.complete(originals.repeat(self.draws, 1, 1, 1), rows)
        return images.completions(originals, drawn.unflatten(0, (self.draws, -1)), rows)


class Resolutions(FigureCallback):
    """Codes of test images decoded at the size of training, at twice and at four times that size.

    Args:
        n: number of test images.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "resolutions"
    says_left_out = False

    def __init__(self, n: Cells = 10, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n = n

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The first n test images at three sizes."""
        codes, (height, width) = model.encode(data.test_images[: self.n]), model.image_shape[1:]
        sizes = [(height * times, width * times) for times in (1, 2, 4)]
        return images.resolutions([model.decode(codes, size) for size in sizes], model.images_are)


class RealImages(FigureCallback):
    """Test images as the model sees them, to compare samples with.

    Args:
        rows: rows of images in the picture.
        columns: columns of images in the picture.
    """

    name = "real_images"

    def __init__(self, rows: Cells = 4, columns: Cells = 4) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """The first rows × columns test images."""
        return images.image_grid(data.test_images[: self.rows * self.columns], self.columns, "test images")


class LatentGrid(FigureCallback):
    """An n × n grid of decoded codes over the plane of the latent space.

    With two latent dimensions the plane is the space itself; with more it is spanned by the two leading
    principal axes of the test images' codes, through their centre, in standard deviations. Without an encoder there are
    no such codes, and only two dimensions are drawn.

    Args:
        n: number of codes along each axis.
        reach: largest coordinate along both axes; the grid spans [−reach, reach]².
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "latent_grid"

    def __init__(self, n: Cells = 20, reach: Positive = 2.0, every_n_epochs: Epochs = 0) -> None:
        super().__init__(every_n_epochs)
        self.n, self.reach = n, reach

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """The decoded grid."""
        try:
            codes = model.encode(data.test_images)
        except NotOffered:
            codes = model.draw_codes(1000)
            if codes.shape[1] != 2:  # there are no axes of the images' codes
                raise
        plane = latent.latent_plane(codes)
        decoded = model.decode(plane.square(self.n, self.reach))
        return latent.grid(decoded, self.reach, plane.names, model.images_are)


class Interpolation(FigureCallback):
    """Walks between the codes of test images, of different labels where they have labels, or between prior draws.

    Args:
        pairs: number of walks.
        steps: number of images of each walk, α = 0 and 1 included.
        between: what the walks connect, codes of test images or draws of the prior, as always without an encoder.
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "interpolation"

    def __init__(
        self,
        pairs: Cells = 5,
        steps: Cells = 11,
        between: Literal["test_images", "prior_draws"] = "test_images",
        every_n_epochs: Epochs = 0,
    ) -> None:
        super().__init__(every_n_epochs)
        self.pairs, self.steps, self.between = pairs, steps, between

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """A row for each walk."""
        if self.between == "test_images":
            starts, ends, names = self._ends(data)
            found = data.test_images
            try:
                walks = model.interpolate(found[starts], found[ends], self.steps)
                return images.interpolation(walks, names, model.images_are)
            except NotOffered as reason:
                log.debug("%s: %s", self.name, reason)
        z1, z2 = model.draw_codes(2 * self.pairs).chunk(2)
        return images.interpolation(model.walk(z1, z2, self.steps), [], model.images_are)

    def _ends(self, data: ImageDataModule) -> tuple[Tensor, Tensor, list[str]]:
        """Index of each walk's first test image, (pairs,), of its last one, (pairs,), and the names of the walks."""
        labels = data.test_labels
        kinds = labels.unique()
        walks = torch.arange(self.pairs, device=labels.device)
        if data.labels is None or len(kinds) < 2:
            return 2 * walks % len(labels), (2 * walks + 1) % len(labels), []
        # from the first image of one label to the first of the next label
        first = torch.stack([(labels == kind).nonzero()[0, 0] for kind in kinds])
        starts = 2 * walks % len(kinds)
        ends = (starts + 1 + walks // len(kinds)) % len(kinds)
        pairs = zip(kinds[starts].tolist(), kinds[ends].tolist(), strict=True)
        return first[starts], first[ends], [f"{data.labels[start]} → {data.labels[end]}" for start, end in pairs]


class LatentScatter(FigureCallback):
    """Codes of the test images in the plane of the latent space, coloured by label where they have labels.

    Args:
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "latent_scatter"

    def draw(self, model: Model, data: ImageDataModule) -> Figure:
        """Every test image as a point."""
        codes = model.encode(data.test_images)
        plane = latent.latent_plane(codes)
        labels = None if data.labels is None else data.test_labels
        return latent.scatter(plane.coordinates(codes), plane.names, labels, data.labels or ())


class NelboByEpoch(FigureCallback):
    """NELBO and its terms by epoch, training and validation; all figures for a model with another criterion.

    Args:
        every_n_epochs: number of epochs between two drawings during training; 0 draws only at the end.
    """

    name = "nelbo"

    def is_due(self, trainer: Trainer, model: Model) -> bool:  # noqa: ARG002
        """Never at the end of an epoch: the model's history gets the epoch after the callbacks have run."""
        return False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the epochs before this one."""
        done = trainer.current_epoch
        if self.every_n_epochs and done and done % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, f"{self.name}_epoch_{done:04d}")

    def draw(self, model: Model, data: ImageDataModule) -> Figure:  # noqa: ARG002
        """The model's history."""
        return curves.by_epoch(model.history, model.criterion)


def _model_of(pl_module: LightningModule) -> Model:
    assert isinstance(pl_module.model, Model)
    return pl_module.model
