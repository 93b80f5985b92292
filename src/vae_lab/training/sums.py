"""Running sums of figures of images, kept on the device between rare reads."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

PIXELS = "pixels"  # the sum of an image's pixels among its figures: it is finite where all of them are


def not_finite(figures: dict[str, float], criterion: str, remedy: str) -> str:
    """What to say of figures that are not finite, or nothing; the images are blamed before the training is.

    Args:
        figures: by name.
        criterion: name of the figure that is made of the others, and is named only where no other is.
        remedy: what may help if the images are not to blame.
    """
    broken = [name for name in reversed(figures) if not math.isfinite(figures[name])]
    if PIXELS in broken:
        return "a pixel of the images was not finite, but NaN or infinite; leave such images out"
    names = [name for name in broken if name != criterion] or broken
    were = "was" if len(names) == 1 else "were"
    return f"{' and '.join(names)} {were} not finite. Try {remedy}" if names else ""


def prefixed(prefix: str, figures: Mapping[str, float]) -> dict[str, float]:
    """Figures under the name of their stage, such as train/nelbo."""
    return {f"{prefix}/{name}": value for name, value in figures.items() if name != PIXELS}


def remedy_of(precision: str, has_warmup: bool) -> str:
    """What may help where a figure of training was not finite.

    Args:
        precision: of the trainer.
        has_warmup: whether the loss has a weight that may climb.
    """
    if precision == "16-true":
        return "trainer.precision=bf16-true: float16 has no numbers as small as Adam's eps"
    found = ["a lower optimizer.lr", "trainer.gradient_clip_val=100", *(["loss.warmup_epochs=5"] if has_warmup else [])]
    return " or ".join((", ".join(found[:-1]), found[-1]))


def summed(figures: Mapping[str, Tensor]) -> Tensor:
    """Sums of figures over the images of a batch, (figures,), from (batch,) each."""
    return torch.stack([value.detach() for value in figures.values()]).sum(1)


class RunningSums:
    """Sums of figures over images.

    A read copies all steps since the last read to the host at once: no step waits for the device, and the step of a
    value that is not finite is still known.
    """

    def __init__(self) -> None:
        self.pending: list[Tensor] = []
        self.names: tuple[str, ...] = ()
        self.totals: dict[str, float] = {}
        self.steps = 0
        self.images = 0

    def add(self, figures: Mapping[str, Tensor]) -> None:
        """Add one batch; nothing is read from the device.

        Args:
            figures: figures of each image, (batch,) each; of the same names at each step.
        """
        self.add_rows(tuple(figures), [summed(figures)], len(next(iter(figures.values()))))

    def add_rows(self, names: tuple[str, ...], rows: Iterable[Tensor], images: int) -> None:
        """Add batches that were summed before.

        Args:
            names: names of the figures.
            rows: sums over the images of each batch, (figures,) each; they are kept until the next read.
            images: number of images of all these batches together.
        """
        self.names = names
        self.pending += rows
        self.images += images

    def read(self) -> list[dict[str, float]]:
        """Fetch the pending sums, add them up, and give those of each step."""
        if not self.pending:
            return []
        steps = [dict(zip(self.names, row, strict=True)) for row in torch.stack(self.pending).cpu().double().tolist()]
        self.pending.clear()
        self.steps += len(steps)
        for figures in steps:  # one by one, so that the sum does not depend on when it was read
            for name, value in figures.items():
                self.totals[name] = self.totals.get(name, 0.0) + value
        return steps

    def means(self, reduce: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Means over all images of all processes, and n, their number.

        Args:
            reduce: function that sums a tensor over processes.
        """
        self.read()
        *totals, images = reduce(torch.tensor([*self.totals.values(), self.images], dtype=torch.float64)).tolist()
        return {name: total / images for name, total in zip(self.totals, totals, strict=True)} | {"n": images}

    def state_dict(self) -> dict[str, Any]:
        """The sums; nothing may be pending."""
        return {"steps": self.steps, "images": self.images, "totals": dict(self.totals)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore sums; a checkpoint of the first edition has those of a VAE, under their own names."""
        self.steps, self.images = int(state["steps"]), int(state["images"])
        kl, reconstruction = state.get("kl", 0.0), state.get("reconstruction", 0.0)
        of_vae = {"nelbo": reconstruction + kl, "kl": kl, "reconstruction": reconstruction}
        self.totals = dict(state.get("totals", of_vae))
