"""What a richer posterior costs: python benchmarks/posteriors.py [ROUNDS]

The default nets, batches of 100 random images, loss=sgvb, all families in turns on one thread. Training is a step of
loss, gradients and Adam; drawing is k = 1000 codes of each of 20 images with their densities, as many codes at once as
the evaluator takes. Both are also ratios to the diagonal normal.
"""

import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable

import torch

from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import SGVB
from vae_lab.models import VAE
from vae_lab.models.draws import Latent
from vae_lab.posteriors import IAF, DiagonalNormal, FullNormal, Planar, Posterior, Spline
from vae_lab.priors import StandardNormal
from vae_lab.training.hardware import set_up

SHAPE, LATENT, HIDDEN, BATCH, STEPS = (1, 28, 28), 10, [300, 300], 100, 60
IMAGES, K, AT_ONCE = 20, 1000, 2000
FAMILIES: dict[str, Callable[[int], Posterior]] = {
    "diagonal_normal": DiagonalNormal,
    "full_normal": FullNormal,
    "planar": Planar,
    "spline": Spline,
    "iaf": IAF,
}


def training(model: VAE, x: torch.Tensor) -> Callable[[], None]:
    """Some steps of training."""
    loss, optimizer = SGVB(), torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    def run() -> None:
        for _ in range(STEPS):
            loss(model, x).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return run


def drawing(model: VAE, x: torch.Tensor) -> Callable[[], None]:
    """All draws of some images, and their densities."""

    @torch.no_grad()
    def run() -> None:
        q, p = model.infer(x), model.prior()
        for _ in range(IMAGES * K // AT_ONCE):
            assert Latent(q, p, (AT_ONCE // IMAGES,)).log_q.shape == (AT_ONCE // IMAGES, IMAGES)

    return run


def seconds(work: Callable[[], None]) -> float:
    """Seconds of the processor in one call: other work on the machine counts little."""
    started = time.process_time()
    work()
    return time.process_time() - started


def main(rounds: int) -> None:
    """Measure in turns and print medians."""
    torch.set_num_threads(1)
    set_up()
    x = torch.rand(BATCH, *SHAPE).bernoulli()
    work = {}
    for name, make in FAMILIES.items():
        encoder = MLPEncoder(LATENT, HIDDEN, SHAPE, posterior=make(LATENT))
        model = VAE(encoder, MLPDecoder(LATENT, HIDDEN, Bernoulli(), SHAPE), StandardNormal(LATENT))
        work[name] = training(model, x), drawing(model, x[:IMAGES])
    found = defaultdict(list)
    for _ in range(rounds + 1):  # the first is not counted
        for name, (train, draw) in work.items():
            found[name].append((seconds(train), seconds(draw)))
    middle = {
        name: [statistics.median(column) for column in zip(*rows[1:], strict=True)] for name, rows in found.items()
    }
    usual = middle["diagonal_normal"]
    for name, (step, draw) in middle.items():
        rate, ratio = STEPS * BATCH / step, usual[0] / step
        draws = f"{IMAGES} × {K} draws {1e3 * draw:6.1f} ms ({draw / usual[1]:.1f})"
        print(f"{name:16} {rate:7,.0f} images/s ({ratio:.2f})   {draws}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
