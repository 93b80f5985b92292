"""A laboratory for variational auto-encoders.

Train, as ``python -m vae_lab`` does:

>>> import vae_lab
>>> run = vae_lab.train(prior="mixture", loss="sgvb", latent_dim=2, max_epochs=5)  # doctest: +SKIP
>>> run.model, run.metrics["test/nelbo"], run.history                              # doctest: +SKIP
>>> run.figures.grid()                                                             # doctest: +SKIP

Come back to it, and compare:

>>> run = vae_lab.TrainedRun("outputs/runs/…")   # doctest: +SKIP
>>> model = vae_lab.load("outputs/runs/…")       # doctest: +SKIP
>>> table = vae_lab.runs("outputs/runs")         # doctest: +SKIP

Use a model; images are tensors or arrays (batch, channels, height, width) in [0, 1], or bytes:

>>> images = model.sample(16)                                                     # doctest: +SKIP
>>> codes, copies, bounds = model.encode(x), model.reconstruct(x), model.log_prob(x)  # doctest: +SKIP
>>> model.export("folder")                                                        # doctest: +SKIP
>>> vae_lab.explore(run)  # a page to drag and slide in, inside a notebook        # doctest: +SKIP

Build one by hand from ``vae_lab.encoders``, ``.decoders``, ``.likelihoods`` and ``.priors`` as a ``VAE``, train it as
``Training(model, loss)`` with any Lightning ``Trainer``, and keep it with ``save``.
"""

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

    from vae_lab.api.explore import explore
    from vae_lab.api.train import train
    from vae_lab.api.trained_run import TrainedRun
    from vae_lab.api.trained_run import table_of_runs as runs
    from vae_lab.config.by_hand import save
    from vae_lab.config.saved import load
    from vae_lab.models import VAE
    from vae_lab.training.module import Training

__all__ = ["VAE", "TrainedRun", "Training", "explore", "load", "runs", "save", "train"]

_HOMES = {
    "explore": "vae_lab.api.explore",
    "load": "vae_lab.config.saved",
    "save": "vae_lab.config.by_hand",
    "train": "vae_lab.api.train",
    "TrainedRun": "vae_lab.api.trained_run",
    "Training": "vae_lab.training.module",
    "VAE": "vae_lab.models",
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command line answers before torch is loaded."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vae_lab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


class _Runs(ModuleType):
    """The package of run folders, which people call: it has the name of the table of their runs."""

    def __call__(self, folder: Path | str) -> "pandas.DataFrame":
        """The runs below a folder as a table, by ``vae_lab.api.trained_run.table_of_runs``."""
        return importlib.import_module("vae_lab.api.trained_run").table_of_runs(folder)


importlib.import_module("vae_lab.runs").__class__ = _Runs


def __dir__() -> list[str]:
    """What help() and the Tab key show."""
    return sorted({*globals(), *__all__})
