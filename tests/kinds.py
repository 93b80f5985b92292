"""Every kind of model, loss, prior, posterior and likelihood that the program builds, small, and a data set for it."""

from collections.abc import Sequence

import hydra
import pytest
import torch

from vae_lab.config.build import build_model, build_training
from vae_lab.data import ImageDataModule
from vae_lab.paths import CONF
from vae_lab.training.module import Training

SIDE, IMAGES = 8, 26
SMALL = ("hidden_dims=[8]", "channels=[4,8]", "latent_dim=2")
LADDER = ("model=ladder", "model.latent_dims=[4,2]", "model.hidden_dims=[8,8]")
SIZES = ("model.channels=[4,8]", "model.latents=[1,1]", "model.latent_channels=[2,2]", "model.top_dim=2")
PIXELCNN = ("decoder=pixelcnn", "decoder.layers=2", "decoder.width=4")
TRANSFORMER = ("decoder=transformer", "decoder.layers=1", "decoder.width=8", "decoder.heads=2")

KINDS: dict[str, tuple[str, ...]] = {
    "vae": ("loss.warmup_epochs=9", "trainer.gradient_clip_val=1"),
    "sgvb": ("loss=sgvb", "loss.free_bits=0.5", "training.ema=0.99"),
    "iwae": ("loss=iwae", "loss.samples=3"),
    "dreg": ("loss=dreg", "loss.samples=3"),
    "conv": ("encoder=conv", "decoder=conv", "optimizer=adamw"),
    "resnet": ("encoder=resnet", "decoder=resnet"),
    "masked": ("decoder.masked_kernel=5", "decoder.masked_layers=1"),
    "pixelcnn": PIXELCNN,
    "transformer": TRANSFORMER,
    "coordinate": ("decoder=coordinate", "decoder.width=8"),
    "autoregressive": ("model=autoregressive", *PIXELCNN),
    "autoregressive_transformer": ("model=autoregressive", *TRANSFORMER),
    "ladder": LADDER,
    "ladder_precision": (*LADDER, "model.merge=precision"),
    "conv_ladder": ("model=conv_ladder", *SIZES),
    "gan": ("model=gan", "loss.discriminator_steps=2"),
    "wasserstein": ("model=gan", "discriminator=conv", "decoder=conv", "loss.kind=wasserstein"),
    "svi": ("inference=svi", "encoder=none", "inference.steps=2"),
    "semi_amortized": ("inference=semi_amortized", "inference.steps=2"),
    **{f"prior_{name}": ("loss=sgvb", f"prior={name}") for name in ("mixture", "vamp", "flow", "planar_flow")},
    "prior_continuous_flow": ("loss=sgvb", "prior=continuous_flow"),
    **{f"posterior_{name}": ("loss=sgvb", f"posterior={name}") for name in ("full_normal", "planar", "spline", "iaf")},
    **{
        f"likelihood_{name}": ("data.binarization=none", f"likelihood={name}")
        for name in ("gaussian", "categorical", "logistic_mixture", "continuous_bernoulli")
    },
}


QUICK = ("vae", "sgvb", "dreg", "conv", "masked", "autoregressive", "ladder", "conv_ladder", "gan", "svi")
EACH = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in KINDS]


class SmallImages(ImageDataModule):
    """Random grey levels: 26 images in batches of 5, so that the last batch of an epoch is smaller."""

    name, image_shape, labels, train_size = "small", (1, SIDE, SIDE), None, IMAGES

    def read(self):
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (IMAGES, *self.image_shape), generator=generator, dtype=torch.uint8)
        return ((images, torch.zeros(IMAGES, dtype=torch.int64)),) * 2


def built(overrides: Sequence[str]) -> tuple[Training, SmallImages]:
    """The training and the data of a kind, untrained, the same each time."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [*SMALL, *overrides])
    torch.manual_seed(0)
    training = build_training(config, build_model(config, SmallImages.image_shape))
    if training.model.criterion == "frechet_distance":  # which no callback measures here
        training.model.criterion = "d_loss"
    return training, SmallImages(batch_size=5, validation="none", binarization=config.data.binarization)
