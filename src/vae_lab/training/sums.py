"""Running sums of figures of images, kept on the device between rare reads."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


class RunningSums:
    """Sums of figures over images.

    A read copies the steps since the last one to the host together: no step waits for the device, and a
    value that is not finite is still traced to its step.
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
        self.names = tuple(figures)
        values = [value.detach() for value in figures.values()]
        self.pending.append(torch.stack(values).sum(1))
        self.images += len(values[0])

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
            reduce: adds up a tensor over processes.
        """
        self.read()
        *totals, images = reduce(torch.tensor([*self.totals.values(), self.images], dtype=torch.float64)).tolist()
        return {name: total / images for name, total in zip(self.totals, totals, strict=True)} | {"n": images}

    def state_dict(self) -> dict[str, Any]:
        """The sums, where nothing is pending."""
        return {"steps": self.steps, "images": self.images, "totals": dict(self.totals)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take sums over; a checkpoint of the first edition has those of a VAE, under their own names."""
        self.steps, self.images = int(state["steps"]), int(state["images"])
        kl, reconstruction = state.get("kl", 0.0), state.get("reconstruction", 0.0)
        of_vae = {"nelbo": reconstruction + kl, "kl": kl, "reconstruction": reconstruction}
        self.totals = dict(state.get("totals", of_vae))
