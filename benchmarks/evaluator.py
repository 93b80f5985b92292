"""The importance-weighted bound beside its bare matrix products: python benchmarks/evaluator.py [ROUNDS]

The default model's decoder multiplies k codes for each image through 10-300-300-784. Timed in turns: the evaluator on
some test images, and the same products alone into buffers made once, by oneDNN where it keeps full precision and by
torch's own choice. Floating-point operations per second count the products only.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from vae_lab.data import MNISTDataModule
from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.evaluation.bounds import bounds_of_set
from vae_lab.likelihoods import Bernoulli
from vae_lab.models import VAE
from vae_lab.priors import StandardNormal
from vae_lab.training.hardware import keep_freed_memory, multiply_by

LATENT, HIDDEN, PIXELS = 10, [300, 300], 784
IMAGES, K = 40, 5000
SHAPE = (1, 28, 28)
AT_ONCE = 2000  # codes decoded together, as the evaluator does with images of this size


def products() -> Callable[[], None]:
    """One pass of the decoder's products for all codes of all images."""
    sizes = [LATENT, *HIDDEN, PIXELS]
    weights = [torch.randn(before, after) for before, after in itertools.pairwise(sizes)]
    codes = torch.randn(AT_ONCE, LATENT)
    buffers = [torch.empty(AT_ONCE, size) for size in sizes[1:]]

    def run() -> None:
        for _ in range(IMAGES * K // AT_ONCE):
            values: Tensor = codes
            for weight, buffer in zip(weights, buffers, strict=True):
                values = torch.mm(values, weight, out=buffer)

    return run


def seconds(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main(rounds: int) -> None:
    """Measure in turns and print."""
    data = MNISTDataModule(eval_batch_size=IMAGES)
    data.setup()
    batches = [next(iter(data.test_dataloader()))]
    parts = MLPEncoder(LATENT, HIDDEN, SHAPE), MLPDecoder(LATENT, HIDDEN, Bernoulli(), SHAPE)
    model = VAE(*parts, StandardNormal(LATENT)).eval()
    alone = products()
    alone()
    plain = [seconds(alone) for _ in range(rounds)]
    keep_freed_memory()
    library = multiply_by("onednn")
    alone()
    tuned, ours = [], []
    for _ in range(rounds):
        tuned.append(seconds(alone))
        ours.append(seconds(lambda: bounds_of_set(model, batches, K)))
    operations = 2 * IMAGES * K * (LATENT * HIDDEN[0] + HIDDEN[0] * HIDDEN[1] + HIDDEN[1] * PIXELS)
    print(f"{torch.get_num_threads()} threads, {IMAGES} images, k = {K}")
    for name, times in (("products, torch's choice", plain), (f"products by {library}", tuned), ("evaluator", ours)):
        rates = sorted(operations / time / 1e9 for time in times)
        print(f"{name:26} {statistics.median(rates):6.0f} GFLOP/s ({rates[0]:.0f} – {rates[-1]:.0f})")
    whole = statistics.median(ours) * 10_000 / IMAGES
    print(f"10,000 images would take {whole:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
