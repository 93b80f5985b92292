"""Callbacks: when a figure is drawn and where it goes, and which checkpoints are kept."""

import math
import time
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer, TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from pydantic import Field
from torch import Tensor

from vae_lab.figures import images as figures
from vae_lab.models.vae import VAE
from vae_lab.randomness import fixed_noise
from vae_lab.runs.folder import RunFolder

Count = Annotated[int, Field(ge=1, le=200)]
Every = Annotated[int, Field(ge=0)]


class FigureCallback(Callback):
    """Draws one figure after the test, and every N epochs if asked, with fixed images and fixed noise.

    It goes to ``figures/NAME.png`` under the trainer's ``default_root_dir`` (``NAME_epoch_0010.png`` during
    training) and to TensorBoard where that logs. Only rank zero draws; the random state and the
    model's mode are left as they were.

    Args:
        every_n_epochs: 0 draws at the end only.
    """

    name: str

    def __init__(self, every_n_epochs: Every = 0) -> None:
        self.every_n_epochs = every_n_epochs

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:
        """The figure, from the model and the test images (n, 1, height, width) with their labels (n,)."""
        raise NotImplementedError

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw during training."""
        assert isinstance(pl_module, VAE)
        if self.is_due(trainer, pl_module):
            self._draw(trainer, pl_module, f"{self.name}_epoch_{trainer.current_epoch + 1:04d}")

    def is_due(self, trainer: Trainer, model: VAE) -> bool:  # noqa: ARG002
        """Whether to draw at the end of this epoch of training."""
        return self.every_n_epochs > 0 and (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the finished model."""
        self._draw(trainer, pl_module, self.name)

    def _draw(self, trainer: Trainer, model: LightningModule, file_name: str) -> None:
        if not trainer.is_global_zero:
            return
        assert isinstance(model, VAE)
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        training = model.training
        model.eval()
        with fixed_noise(0, model.device), torch.no_grad():
            figure = self.draw(model, data.test_images, data.test_labels)
        model.train(training)
        picture = render(figure, Path(trainer.default_root_dir) / "figures" / f"{file_name}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                step = trainer.current_epoch
                logger.experiment.add_image(f"figures/{self.name}", picture, step, dataformats="HWC")


def render(figure: Figure, file: Path) -> np.ndarray:
    """Save a figure as PNG and give its pixels, (height, width, rgb)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvasAgg(figure)
    figure.savefig(file)
    return np.asarray(canvas.buffer_rgba())[..., :3]


class Reconstructions(FigureCallback):
    """Test images above their reconstructions, one of each label first.

    Args:
        n: how many.
        every_n_epochs: 0 draws at the end only.
    """

    name = "reconstructions"

    def __init__(self, n: Count = 20, every_n_epochs: Every = 0) -> None:
        super().__init__(every_n_epochs)
        self.n = n

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:
        """The first n test images, sorted by label."""
        chosen = images[: self.n][labels[: self.n].argsort(stable=True)]
        return figures.reconstructions(chosen, model.reconstruct(chosen))


class PriorSamples(FigureCallback):
    """Images decoded from draws of the prior.

    Args:
        rows: of the picture.
        columns: of the picture.
        every_n_epochs: 0 draws at the end only.
        at_improvements: draw also at each epoch with a better validation NELBO than all before.
    """

    name = "samples"

    def __init__(
        self, rows: Count = 10, columns: Count = 20, every_n_epochs: Every = 0, at_improvements: bool = False
    ) -> None:
        super().__init__(every_n_epochs)
        self.rows, self.columns, self.at_improvements = rows, columns, at_improvements

    def is_due(self, trainer: Trainer, model: VAE) -> bool:
        """Every N epochs, and at improvements where they are asked for."""
        nelbo = trainer.callback_metrics.get("val/nelbo")
        best = min((row["val/nelbo"] for row in model.history if "val/nelbo" in row), default=math.inf)
        improved = self.at_improvements and nelbo is not None and nelbo.item() < best
        return improved or super().is_due(trainer, model)

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:  # noqa: ARG002
        """A rows × columns picture of samples."""
        return figures.samples(model.sample(self.rows * self.columns), self.columns)


class RealImages(FigureCallback):
    """Test images as the model sees them, to hold samples against.

    Args:
        rows: of the picture.
        columns: of the picture.
    """

    name = "real_images"

    def __init__(self, rows: Count = 4, columns: Count = 4) -> None:
        super().__init__()
        self.rows, self.columns = rows, columns

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:  # noqa: ARG002
        """The first rows × columns test images."""
        return figures.image_rows(images[: self.rows * self.columns].unflatten(0, (-1, self.columns)), "test images")


class LatentGrid(FigureCallback):
    """An n × n grid of decoded codes over the plane of the latent space.

    With two latent dimensions the plane is the space itself; with more it is spanned by the two leading
    principal axes of the posterior means, through their centre, in standard deviations.

    Args:
        n: codes along each axis.
        reach: the grid spans [−reach, reach]².
        every_n_epochs: 0 draws at the end only.
    """

    name = "latent_grid"

    def __init__(self, n: Count = 20, reach: Annotated[float, Field(gt=0)] = 2.0, every_n_epochs: Every = 0) -> None:
        super().__init__(every_n_epochs)
        self.n, self.reach = n, reach

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:  # noqa: ARG002
        """The decoded grid."""
        centre, axes, names = latent_plane(model.encode(images))
        line = torch.linspace(-self.reach, self.reach, self.n, device=axes.device, dtype=axes.dtype)
        vertical, horizontal = torch.meshgrid(line.flip(0), line, indexing="ij")
        codes = centre + torch.stack((horizontal, vertical), -1) @ axes
        return figures.latent_grid(model.decode(codes), self.reach, names)


class Interpolation(FigureCallback):
    """Walks between the posterior means of test images with different labels, or between draws of the prior.

    Args:
        pairs: how many walks.
        steps: images of each walk, α = 0 and 1 included.
        between: what the walks join.
        every_n_epochs: 0 draws at the end only.
    """

    name = "interpolation"

    def __init__(
        self,
        pairs: Count = 5,
        steps: Count = 11,
        between: Literal["test_images", "prior_draws"] = "test_images",
        every_n_epochs: Every = 0,
    ) -> None:
        super().__init__(every_n_epochs)
        self.pairs, self.steps, self.between = pairs, steps, between

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:
        """One walk a row."""
        if self.between == "prior_draws":
            z1, z2 = model.prior().sample((2, self.pairs))
            return figures.interpolation(model.walk(z1, z2, self.steps), [])
        # from the first image of one label to the first of the next label
        kinds = labels.unique()
        first = torch.stack([(labels == kind).nonzero()[0, 0] for kind in kinds])
        starts = torch.arange(self.pairs, device=first.device) * 2 % len(kinds)
        ends = (starts + 1 + torch.arange(self.pairs, device=first.device) // len(kinds)) % len(kinds)
        walks = model.interpolate(images[first[starts]], images[first[ends]], self.steps)
        names = [f"{kinds[s]} → {kinds[e]}" for s, e in zip(starts.tolist(), ends.tolist(), strict=True)]
        return figures.interpolation(walks, names)


class LatentScatter(FigureCallback):
    """Posterior means of the test set in the plane of the latent space, coloured by label."""

    name = "latent_scatter"

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:
        """Every test image as a point."""
        means = model.encode(images)
        centre, axes, names = latent_plane(means)
        # the axes are orthogonal, so that dividing by their squared lengths gives coordinates along them
        squares = axes.square().sum(1).clamp_min(torch.finfo(axes.dtype).tiny)  # a plane may have one axis only
        points = (means - centre) @ axes.T / squares
        return figures.latent_scatter(points, labels, names)


class NelboByEpoch(FigureCallback):
    """NELBO and its terms by epoch, training and validation."""

    name = "nelbo"

    def is_due(self, trainer: Trainer, model: VAE) -> bool:  # noqa: ARG002
        """Never at the end of an epoch: the model adds its figures after its callbacks."""
        return False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the epochs before this one."""
        done = trainer.current_epoch
        if self.every_n_epochs and done and done % self.every_n_epochs == 0:
            self._draw(trainer, pl_module, f"{self.name}_epoch_{done:04d}")

    def draw(self, model: VAE, images: Tensor, labels: Tensor) -> Figure:  # noqa: ARG002
        """The model's history."""
        return figures.nelbo_by_epoch(model.history)


def latent_plane(means: Tensor) -> tuple[Tensor, Tensor, tuple[str, str]]:
    """The plane in which codes are shown: the latent space itself in two dimensions, else its main plane.

    Args:
        means: posterior means, (n, latent).

    Returns:
        centre (latent,), axes (2, latent) and the names of the axes. A code is centre + coordinates @ axes.
        Above two dimensions an axis is a principal axis, as long as the means' standard deviation along it;
        in one, the second axis is zero.

    >>> centre, axes, names = latent_plane(torch.randn(100, 2))
    >>> axes.tolist(), names
    ([[1.0, 0.0], [0.0, 1.0]], ('z₁', 'z₂'))
    """
    latent = means.shape[1]
    if latent <= 2:
        return means.new_zeros(latent), torch.eye(2, latent).to(means), ("z₁", "z₂")
    centre = means.mean(0)
    _, lengths, axes = torch.linalg.svd(means - centre, full_matrices=False)
    axes = axes[:2] * (lengths[:2, None] / len(means) ** 0.5)
    # an axis and its negative are one axis; the choice must not hang on the library's
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    unit = "principal axis / standard deviations"
    return centre, axes, (f"first {unit}", f"second {unit}")


class ProgressBar(TQDMProgressBar):
    """One bar: the epoch of how many, the batches of it, and the running NELBO, five times a second."""

    seconds = 0.2

    def __init__(self) -> None:
        super().__init__()
        self.next_refresh = 0.0

    def init_validation_tqdm(self) -> Tqdm:
        """No second bar: validation takes a moment."""
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: Trainer, *_: Any) -> None:
        """Say which epoch it is of how many."""
        super().on_train_epoch_start(trainer)
        of = f"/{trainer.max_epochs}" if trainer.max_epochs and trainer.max_epochs > 0 else ""
        self.train_progress_bar.set_description(f"epoch {trainer.current_epoch + 1}{of}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refresh by the clock: one call is several batches, and how many a second hangs on the model."""
        if time.monotonic() >= self.next_refresh or batch_idx + 1 == self.train_progress_bar.total:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
            self.next_refresh = time.monotonic() + self.seconds

    def get_metrics(self, *args: Any) -> dict[str, Any]:
        """The NELBO, without the logger's version."""
        return {name: value for name, value in super().get_metrics(*args).items() if name != "v_num"}


class Clock(Timer):
    """Seconds of training, those of validation among them; both go on counting in a run that goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.validation = 0.0

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add them up: Lightning's clock begins anew at each validation."""
        super().on_validation_end(trainer, pl_module)
        self.validation += self.time_elapsed("validate")

    def state_dict(self) -> dict[str, Any]:
        """What a run that goes on begins with."""
        return super().state_dict() | {"validation": self.validation}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Begin with it."""
        super().load_state_dict(state_dict)
        self.validation = state_dict["validation"]


class _Checkpoint(ModelCheckpoint):
    """A file of the run folder's ``checkpoints/``, written at the end of an epoch."""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the run folder."""
        self.dirpath = f"{trainer.default_root_dir}/checkpoints"
        if stage == "fit":
            super().setup(trainer, pl_module, stage)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over which file is the best, in this folder: the run may have been moved."""
        state = dict(state_dict, dirpath=self.dirpath)
        for name in ("best_model_path", "kth_best_model_path", "last_model_path"):
            state[name] = self._here(state[name])
        state["best_k_models"] = {self._here(path): value for path, value in state["best_k_models"].items()}
        super().load_state_dict(state)

    def _here(self, path: str) -> str:
        return f"{self.dirpath}/{Path(path).name}" if path else path

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Say which config the weights belong to, where the run has one."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        folder = RunFolder(trainer.default_root_dir)
        if folder.config_file.is_file():
            checkpoint["config_sha256"] = folder.config_digest()


class BestCheckpoint(_Checkpoint):
    """Keeps ``best.ckpt``, the epoch with the lowest ``nelbo``: validation's, or training's without one."""

    def __init__(self) -> None:
        super().__init__(filename="best", monitor="nelbo", save_on_train_epoch_end=True, enable_version_counter=False)


class LastCheckpoint(_Checkpoint):
    """Keeps ``last.ckpt``: the latest epoch, or a moment within it, from which a run that is cut off goes on.

    Args:
        every_n_minutes: how old it may become within an epoch.
        every_n_steps: likewise in optimiser steps, or more where one call of training_step takes several.
    """

    def __init__(
        self,
        every_n_minutes: Annotated[float, Field(gt=0)] | None = 5.0,
        every_n_steps: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        super().__init__(filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        self.every_n_minutes, self.every_n_steps = every_n_minutes, every_n_steps
        self.saved_at, self.saved_step = time.monotonic(), 0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        """Save within an epoch, where it is time."""
        minutes, steps = (time.monotonic() - self.saved_at) / 60, trainer.global_step - self.saved_step
        due = self.every_n_minutes is not None and minutes >= self.every_n_minutes
        due = due or (self.every_n_steps is not None and steps >= self.every_n_steps)
        if trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save_checkpoint(trainer, f"{self.dirpath}/last.ckpt")

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        super()._save_checkpoint(trainer, filepath)
        self.saved_at, self.saved_step = time.monotonic(), trainer.global_step
