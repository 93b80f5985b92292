"""Callbacks that measure figures of a whole set, which are no mean over its images."""

import logging
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vae_lab.annotations import NotNegative, Size
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, UserError
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.training.module import Training

log = logging.getLogger(__name__)


class Measurement(Callback):
    """Measures figures of a set at the end of its validation and test; they join the figures of that epoch."""

    measures: tuple[str, ...]
    """Names of the figures."""

    def check(self, data: ImageDataModule) -> None:
        """Raise ConfigError where the figures cannot be measured of these images."""


class SampleQuality(Measurement):
    """Fréchet distance between samples and held-out images, label balance and confidence of the samples.

    The features and labels are those of the data set's classifier, as in ``task=evaluate``; noise is fixed. In
    training the first epoch and then every ``every_n_epochs``-th is measured, and the last one. Where the labels of the
    samples are twice in a row less balanced than those of the images, a warning says what to try.

    Args:
        samples: largest number of samples; there are no more than images that they are compared with.
        every_n_epochs: number of epochs between two measurements in training; a run is chosen among those epochs.
        least_balance: smallest label balance of samples divided by that of the images, below which the warning comes.

    Raises:
        ConfigError: if the images have fewer than two labels, or are not grey levels.
    """

    measures = ("frechet_distance", "class_balance", "confidence")

    def __init__(self, samples: Size = 10_000, every_n_epochs: Size = 1, least_balance: NotNegative = 0.9) -> None:
        self.samples, self.every_n_epochs, self.least_balance = samples, every_n_epochs, least_balance
        self.net: Any = None
        self.real: dict[str, tuple[Tensor, float]] = {}  # features of each set of images, and their label balance

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Check the images; forget those of an earlier call."""
        data = getattr(trainer, "datamodule", None)
        if not isinstance(data, ImageDataModule):
            raise UserError("SampleQuality needs a data module of vae_lab: trainer.fit(training, data)")
        self.check(data)
        self.net, self.real = None, {}

    def check(self, data: ImageDataModule) -> None:
        """Refuse images without labels to judge samples by, and images that are not grey levels."""
        if len(data.labels or ()) < 2:
            reason = "samples are judged by a classifier of its labels, and its images have fewer than two"
            raise ConfigError("data", data.name, reason)
        if data.binarization != "none":
            reason = "samples are grey levels, and are compared with such images; use none"
            raise ConfigError("data.binarization", data.binarization, reason)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the samples beside the held-out images, where it is due."""
        epoch, is_fitting = trainer.current_epoch, trainer.state.fn == TrainerFn.FITTING
        if trainer.sanity_checking or not (
            epoch % self.every_n_epochs == 0 or epoch + 1 == trainer.max_epochs or not is_fitting
        ):
            return
        found = self._measure(trainer, pl_module, "val")
        if is_fitting and trainer.is_global_zero:
            assert isinstance(pl_module, Training)
            self._warn(pl_module.model, found["class_balance"], self.real["val"][1], epoch + 1)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Measure the samples beside the test images."""
        self._measure(trainer, pl_module, "test")

    def _measure(self, trainer: Trainer, pl_module: LightningModule, name: str) -> dict[str, float]:
        from vae_lab.evaluation import classifier, sample_quality  # late: they import slowly

        assert isinstance(pl_module, Training)
        data, device = trainer.datamodule, trainer.strategy.root_device  # type: ignore[attr-defined]
        if self.net is None:
            (images, labels), _ = data.read()
            with torch.inference_mode(False), torch.enable_grad():  # it may have to be trained
                images, labels, file = images.to(device), labels.to(device), data.folder / "classifier.pt"
                self.net = classifier.classifier(file, images, labels, len(data.labels))
        images = data.val.images if name == "val" else data.test.images
        if name not in self.real:
            features, probabilities = self.net.look(images)
            self.real[name] = features, sample_quality.class_balance(probabilities)
        features, probabilities = self._look_at_samples(pl_module.model, min(self.samples, len(images)))
        found = {
            "frechet_distance": sample_quality.frechet_distance(self.real[name][0], features),
            "class_balance": sample_quality.class_balance(probabilities),
            "confidence": sample_quality.confidence(probabilities),
        }
        pl_module.measured |= found
        return found

    def _look_at_samples(self, model: Model, n: int) -> tuple[Tensor, Tensor]:
        """Features (n, 128) and label probabilities (n, labels) of n samples, drawn as ``task=evaluate`` draws them."""
        from vae_lab.evaluation.sample_quality import samples_in_parts  # late: it imports slowly

        with fixed_noise(0, model.device), torch.no_grad():
            looks = [self.net.look(part.float()) for part in samples_in_parts(model, n)]
        features, probabilities = zip(*looks, strict=True)
        return torch.cat(features), torch.cat(probabilities)

    def _warn(self, model: Model, balance: float, of_images: float, epoch: int) -> None:
        """Warn of samples of few labels, where those of the measurement before were so too: at first all are."""
        least = self.least_balance * of_images
        before = next((row["val/class_balance"] for row in reversed(model.history) if "val/class_balance" in row), None)
        if balance < least and before is not None and before < least:
            log.warning(
                "epoch %d: the samples have few labels (class_balance %.2f, that of held-out images %.2f). Try "
                "loss.kind=hinge, discriminator.spectral_norm=true, a lower optimizer.lr or a larger latent_dim",
                *(epoch, balance, of_images),
            )
