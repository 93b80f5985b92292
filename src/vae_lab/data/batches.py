"""Batches as slices of a tensor that is already on the device."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor


class Batches:
    """Iterates over (images, labels): (batch, channels, height, width) in [0, 1], and (batch,).

    Args:
        images: uint8 images (n, channels, height, width), on the device.
        labels: label of each image, (n,), on the same device.
        batch_size: number of images of a batch; the last one is smaller where n is no multiple of it.
        to_pixels: function from uint8 images to what the model sees.
        order: function that gives a permutation of n for each epoch; None keeps the images' own order.
        part: (rank, processes); a process takes the images rank, rank + processes, … of a batch, so that the batches of
            all processes together are those of one. In training, a last batch of fewer images than processes is left
            out, since a loss is a mean over images.
    """

    gathers = True
    """False: in training the batches are the numbers of their images, (batch,), which ``take`` makes images of."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        to_pixels: Callable[[Tensor], Tensor],
        order: Callable[[], Tensor] | None = None,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.to_pixels, self.order = to_pixels, order
        self.rank, self.processes = part

    def __len__(self) -> int:
        whole, rest = divmod(len(self.images), self.batch_size)
        return whole + (rest >= (self.processes if self.order else 1))

    def __iter__(self) -> Iterator[Any]:
        own = slice(self.rank, None, self.processes)
        if self.order is None:
            for images, labels in zip(
                self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
            ):
                yield self.to_pixels(images[own]), labels[own]
        else:
            batches = self.order().to(self.images.device).split(self.batch_size)
            for chosen in (batch[own] for batch in batches[: len(self)]):
                yield self.take(chosen) if self.gathers else chosen

    def take(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """The images of some numbers, (batch,), as the model sees them, and their labels."""
        # index_select copies whole images; indexing by a tensor takes eight times as long on the CPU
        return self.to_pixels(self.images.index_select(0, chosen)), self.labels.index_select(0, chosen)
