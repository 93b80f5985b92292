"""No drift: the first losses of three recipes, so that a change of the mathematics or of the random stream is noticed.

The figures were printed by ``python tests/test_golden.py`` on one thread of a CPU, torch 2.15. Other processors and
libraries differ in the last digits of single precision; what is meant to be noticed changes the fourth.
"""

from unittest.mock import patch

import hydra
import lightning
import pytest
from lightning import Trainer

from vae_lab.config.build import build_data, build_model, build_training
from vae_lab.paths import CONF
from vae_lab.training.sums import RunningSums

STEPS = 20
GOLDEN = {
    "notebook_kl": [
        630.371,
        628.35,
        627.046,
        625.143,
        623.446,
        621.799,
        620.015,
        617.57,
        616.081,
        613.634,
        611.041,
        608.732,
        606.041,
        604.033,
        601.044,
        597.733,
        593.912,
        589.544,
        586.462,
        582.244,
    ],
    "bernoulli_z10": [
        546.365,
        535.025,
        519.257,
        490.739,
        444.007,
        387.923,
        335.039,
        307.55,
        305.241,
        274.786,
        263.096,
        254.244,
        231.05,
        241.888,
        231.146,
        240.211,
        233.394,
        226.635,
        219.853,
        221.571,
    ],
    "conv_planar": [
        595.427,
        568.82,
        517.213,
        452.23,
        384.465,
        359.69,
        271.117,
        257.515,
        253.222,
        242.542,
        221.204,
        217.473,
        216.335,
        218.933,
        239.09,
        221.736,
        222.835,
        214.096,
        238.545,
        216.855,
    ],
}


def losses(recipe: str, root: str | None) -> list[float]:
    """NELBO of each of the first batches, in nats per image."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [f"experiment={recipe}", f"data.root={root}" if root else "data.root=null"])
    lightning.seed_everything(config.seed, verbose=False)
    data = build_data(config)
    training = build_training(config, build_model(config, data.image_shape))
    data.setup()
    if config.start_at_data_mean:
        training.model.start_at(data.mean_image())
    found: list[float] = []

    def add(sums, figures):
        found.append(figures["nelbo"].mean().item())
        real(sums, figures)

    real = RunningSums.add
    with patch.object(RunningSums, "add", add):
        trainer = Trainer(
            accelerator="cpu",
            max_steps=STEPS,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.fit(training, data)
    return found


@pytest.mark.parametrize("recipe", GOLDEN)
def test_the_first_losses_are_those_of_before(recipe, mnist_root):
    assert losses(recipe, mnist_root) == pytest.approx(GOLDEN[recipe], rel=1e-4)


if __name__ == "__main__":
    for name in ("notebook_kl", "bernoulli_z10", "conv_planar"):
        print(f'    "{name}": {[round(loss, 3) for loss in losses(name, None)]},')
