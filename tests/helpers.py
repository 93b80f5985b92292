"""What the tests build with: a small model, a small data set, a quiet trainer."""

from pathlib import Path

import torch
from lightning import Trainer

from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import KL, Loss
from vae_lab.priors import StandardNormal
from vae_lab.vae import VAE


def small_vae(latent_dim: int = 2, loss: Loss | None = None, **options) -> VAE:
    return VAE(
        MLPEncoder(latent_dim, [32, 16]),
        MLPDecoder(latent_dim, [32, 16], Bernoulli()),
        options.pop("prior", None) or StandardNormal(latent_dim),
        loss or KL(),
        **options,
    )


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with one bright square each, whose place is the label: learnable, and made in no time."""
    labels = torch.arange(n) % 10
    images = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 4 + 10 * (label // 5) : 14 + 10 * (label // 5), 2 + 5 * (label % 5) : 8 + 5 * (label % 5)] = 200
    return images, labels


def trainer(folder: Path, **options) -> Trainer:
    settings = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(default_root_dir=str(folder), **(settings | options))
