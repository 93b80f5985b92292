"""No training step waits for the device or makes memory of a new shape: what a GPU and its graphs need.

The real training loop makes dozens to hundreds of steps of each kind on a CPU, with the operations that a GPU would be
given. Left out are the look at the first batch and the reads of the sums, every fifty steps.
"""

from functools import cache

import pytest
import torch
from torch.utils._python_dispatch import _disable_current_modes

from helpers import trainer
from kinds import EACH, IMAGES, KINDS, built
from vae_lab.data import base
from vae_lab.data.binarization import scale
from vae_lab.training.host_reads import HostReads
from vae_lab.training.module import Training

A_EPOCH = -(-IMAGES // 5)
STEPS = {"vae": 306, "conv": 102}  # of the others 60, ten epochs: sums are read after 50
CPU = torch.device("cpu")


class Watched:
    """What was found in the steps of a training: waiting, and new shapes by epoch."""

    def __init__(self) -> None:
        self.reads, self.shapes_at = HostReads(CPU), []

    def follow(self, patch: pytest.MonkeyPatch) -> None:
        make, after = Training._several_steps, Training._after_steps
        reads, shapes_at = self.reads, self.shapes_at

        def several_steps(module, dataloader_iter):
            with reads.watching():
                make(module, dataloader_iter)
            shapes_at.append((module.trainer.global_step, set(reads.shapes)))

        def after_steps(module):
            with _disable_current_modes():
                after(module)

        patch.setattr(Training, "_several_steps", several_steps)
        patch.setattr(Training, "_after_steps", after_steps)
        # the draw of a GPU: on a CPU another one, whose shapes depend on the bytes, is quicker
        patch.setattr(base, "draw", lambda pixels: torch.bernoulli(scale(pixels)))


@cache
def watched(name: str, folder: str) -> Watched:
    training, data = built(KINDS[name])
    found = Watched()
    with pytest.MonkeyPatch.context() as patch:
        found.follow(patch)
        patch.setattr(Training, "setup", looked(Training.setup))
        fit = trainer(folder, max_steps=STEPS.get(name, 60), max_epochs=-1, limit_val_batches=0)
        fit.fit(training, data)
    assert fit.global_step == STEPS.get(name, 60)
    return found


def looked(setup):
    """A setup after which the training images count as looked at: the look at the first batch waits, once."""

    def after(module, stage):
        setup(module, stage)
        module.inputs.looked_at.add("training")

    return after


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    return str(tmp_path_factory.mktemp("fits"))


@pytest.mark.parametrize("name", EACH)
def test_no_training_step_waits_for_the_device(name, folder):
    assert not set(watched(name, folder).reads.found)


@pytest.mark.parametrize("name", EACH)
def test_no_memory_of_a_new_shape_is_taken_after_the_first_epoch(name, folder):
    found = watched(name, folder).shapes_at
    first = next(shapes for step, shapes in found if step >= A_EPOCH)
    assert len(first) > 10
    assert found[-1][0] == STEPS.get(name, 60)
    assert not found[-1][1] - first


WAITS = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0).any()),
    "cpu": lambda x: x.cpu(),
    "to_cpu": lambda x: x.to("cpu"),
    "tolist": lambda x: x.tolist(),
    "mask": lambda x: x[x > 0],
    "nonzero": lambda x: x.nonzero(),
    "unique": lambda x: x.unique(),
    "masked_select": lambda x: x.masked_select(x > 0),
    "backward": lambda x: Waiting.apply(x.requires_grad_()).sum().backward(),
}


class Waiting(torch.autograd.Function):
    @staticmethod
    def forward(_, x):
        return x.clone()

    @staticmethod
    def backward(_, gradient):
        return gradient * gradient.max().item()


@pytest.mark.parametrize("way", WAITS)
def test_each_way_to_wait_for_the_device_is_found_with_its_line(way):
    reads, x = HostReads(CPU), torch.ones(3)
    with reads.watching():
        WAITS[way](x)
    assert reads.found
    assert all("test_syncs.py:" in found or "functional.py" in found or "_tensor.py" in found for found in reads.found)


def test_what_stays_on_the_device_is_not_found():
    reads, x = HostReads(CPU), torch.ones(3)
    with reads.watching():
        (x[torch.tensor([0, 2])] * x.to(x.device).sum()).clamp(min=0).exp()
    assert not reads.found
