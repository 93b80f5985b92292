"""Pictures of a model on request, by the callbacks that draw them in a run."""

from collections.abc import Callable
from typing import ParamSpec

import torch
from matplotlib.figure import Figure

from vae_lab.config.check import check_arguments
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise
from vae_lab.training import callbacks
from vae_lab.training.figures import FigureCallback

P = ParamSpec("P")


class Pictures:
    """Each method draws one picture, with the arguments of the callback that draws it in a run.

    A picture is a matplotlib Figure: a notebook shows it, and ``savefig`` saves it. What the model cannot give raises
    NotOffered.

    Args:
        model: trained model.
        data: data whose test images are drawn, read.

    >>> run.figures.grid(n=10, reach=2.5).savefig("grid.pdf")  # doctest: +SKIP
    """

    def __init__(self, model: Model, data: ImageDataModule) -> None:
        self._model, self._data = model, data
        self.grid = self._drawn_by(callbacks.LatentGrid)
        self.scatter = self._drawn_by(callbacks.LatentScatter)
        self.samples = self._drawn_by(callbacks.PriorSamples)
        self.reconstructions = self._drawn_by(callbacks.Reconstructions)
        self.interpolation = self._drawn_by(callbacks.Interpolation)
        self.nelbo = self._drawn_by(callbacks.NelboByEpoch)
        self.traversals = self._drawn_by(callbacks.Traversals)
        self.kl_by_dimension = self._drawn_by(callbacks.KLByDimension)
        self.ladder_samples = self._drawn_by(callbacks.LadderSamples)
        self.completions = self._drawn_by(callbacks.Completions)
        self.resolutions = self._drawn_by(callbacks.Resolutions)
        self.real_images = self._drawn_by(callbacks.RealImages)

    def _drawn_by(self, kind: Callable[P, FigureCallback]) -> Callable[P, Figure]:
        """A function with the arguments of a callback that gives the callback's figure."""

        def draw(*args: P.args, **settings: P.kwargs) -> Figure:
            if args:
                raise TypeError("a picture takes its settings by name: n=10")
            key = f"figures.{kind.name}"  # type: ignore[attr-defined]
            for name in ("every_n_epochs", "at_improvements"):
                if name in settings:
                    raise ConfigError(
                        f"{key}.{name}", settings[name], "is for training, and this draws now; leave it out"
                    )
            check_arguments(key, f"{kind.__module__}.{kind.__qualname__}", settings)
            with fixed_noise(0, self._model.device), torch.no_grad():
                return kind(*args, **settings).draw(self._model, self._data)

        draw.__doc__ = kind.__doc__
        return draw
