"""The gaps of a finished run: measured of some test images, written as figures, drawn."""

import time
from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from vae_lab.config.settings import key_of
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError
from vae_lab.evaluation.aggregate import evenly
from vae_lab.evaluation.gaps import gaps, summary
from vae_lab.figures.gaps import gaps_of_images
from vae_lab.figures.style import Form
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.runs.folder import RunFolder

OF_GAPS = ("evaluation.images", "evaluation.ais_steps", "evaluation.ais_chains")


def check_gaps(settings: DictConfig, data: ImageDataModule, overrides: Sequence[str]) -> None:
    """Refuse settings of gaps that are not measured, and more images than the test set has.

    Args:
        settings: config of the evaluation.
        data: data of the run, set up.
        overrides: overrides of this command.

    Raises:
        ConfigError: names the key.
    """
    for override in overrides:
        if key_of(override) in OF_GAPS and not settings.gaps:
            reason = "has no effect without evaluation.gaps=true; give both or none"
            raise ConfigError(key_of(override), override.partition("=")[2], reason)
    if settings.gaps and settings.images > len(data.test_images):
        reason = f"there are {len(data.test_images):,} test images; use that or fewer"
        raise ConfigError("evaluation.images", settings.images, reason)


def measure_gaps(
    model: Model, data: ImageDataModule, folder: RunFolder, settings: DictConfig, form: Form
) -> dict[str, Any]:
    """Figures named gaps/…, and their picture in the run folder.

    Args:
        model: model of the run, on its device.
        data: data of the run, set up.
        folder: folder of the run.
        settings: config of the evaluation.
        form: how the picture is saved.

    Raises:
        NotOffered: if the model lacks what they need.
    """
    started = time.perf_counter()
    with fixed_noise(0, model.device):
        found = gaps(model, evenly(data.test_images, settings.images), settings.ais_steps, settings.ais_chains)
    figures = summary(found) | {"ais_chains": settings.ais_chains, "ais_steps": settings.ais_steps}
    form.save(gaps_of_images(found), folder.figures / "gaps")
    return {f"gaps/{name}": value for name, value in figures.items()} | {"gaps/seconds": time.perf_counter() - started}
