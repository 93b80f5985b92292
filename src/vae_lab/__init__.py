"""A laboratory for variational auto-encoders.

>>> import vae_lab
>>> model = vae_lab.load("outputs/runs/my-run")  # doctest: +SKIP
>>> images = model.sample(16)                    # doctest: +SKIP
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vae_lab.models.vae import VAE
    from vae_lab.runs.folder import load

__all__ = ["VAE", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use, so that the command line answers before torch is loaded."""
    if name == "load":
        from vae_lab.runs.folder import load

        return load
    if name == "VAE":
        from vae_lab.models.vae import VAE

        return VAE
    raise AttributeError(f"module 'vae_lab' has no attribute {name!r}")
