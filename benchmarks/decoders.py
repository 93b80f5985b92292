"""What a decoder costs that sees the pixels before: python benchmarks/decoders.py [ROUNDS [THREADS]]

The models of the recipes, untrained, all in turns; medians. Sampling is model.sample of 200 images. log p(x|z) is
model.log_prob of 50 random binary images with 20 codes each, the densities of the codes included, in images per second:
one for each image and code. Its ratio is to the first row, an MLP of independent pixels.
"""

import statistics
import sys
from collections import defaultdict

import hydra
import torch
from evaluator import seconds

from vae_lab.config.build import build_model
from vae_lab.models import Model
from vae_lab.paths import CONF
from vae_lab.training.hardware import set_up

SHAPE, SAMPLES, IMAGES, K = (1, 28, 28), 200, 50, 20
RECIPES = (
    "rung1_mlp",
    "rung2_conv",
    "rung3_masked",
    "best_cpu",
    "rung4_pixelcnn",
    "rung5_transformer",
    "best_gpu",
    "coordinate",
)


def built(recipe: str) -> Model:
    """The model of a recipe, untrained."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose("config", [f"experiment={recipe}"])
    return build_model(config, SHAPE).eval()


@torch.no_grad()
def main(rounds: int, threads: int) -> None:
    """Measure in turns and print medians."""
    torch.set_num_threads(threads)
    set_up()
    x, models = torch.rand(IMAGES, *SHAPE).bernoulli(), {name: built(name) for name in RECIPES}
    found = defaultdict(list)
    for _ in range(rounds + 1):  # the first is not counted
        for name, model in models.items():
            found[name].append((seconds(lambda: model.sample(SAMPLES)), seconds(lambda: model.log_prob(x, K))))  # noqa: B023
    usual = None
    print(f"{torch.__version__}, {threads} threads, medians of {rounds} rounds")
    for name, times in found.items():
        sampling, density = (statistics.median(column) for column in zip(*times[1:], strict=True))
        usual = usual or density
        rate = f"{IMAGES * K / density:9,.0f} images/s ({usual / density:.3f})"
        print(f"{name:18} sampling {SAMPLES}: {sampling:7.3f} s   log p(x|z): {rate}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, int(sys.argv[2]) if len(sys.argv) > 2 else 2)
