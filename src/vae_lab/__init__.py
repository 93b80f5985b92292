"""A laboratory for variational auto-encoders.

>>> import vae_lab
>>> model = vae_lab.load("outputs/runs/my-run")  # doctest: +SKIP
>>> images = model.sample(16)                    # doctest: +SKIP
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_lab.config.saved import load
    from vae_lab.models import VAE
    from vae_lab.training.module import Training

__all__ = ["VAE", "Training", "load"]

_HOMES = {"load": "vae_lab.config.saved", "VAE": "vae_lab.models", "Training": "vae_lab.training.module"}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command line answers before torch is loaded."""
    if name not in _HOMES:
        raise AttributeError(f"module 'vae_lab' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
