"""Batches as slices of a tensor that already lies on the device."""

from collections.abc import Callable, Iterator

from torch import Tensor


class Batches:
    """Iterates over (images, labels), (batch, 1, height, width) in [0, 1] and (batch,).

    Args:
        images: uint8, on the device.
        labels: beside them.
        batch_size: the last batch is smaller where it does not divide the number of images.
        to_pixels: from uint8 to what the model sees.
        order: gives an epoch's permutation; None walks through the images as they lie.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        to_pixels: Callable[[Tensor], Tensor],
        order: Callable[[], Tensor] | None = None,
    ) -> None:
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.to_pixels, self.order = to_pixels, order

    def __len__(self) -> int:
        return -(-len(self.images) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.order is None:
            for images, labels in zip(
                self.images.split(self.batch_size), self.labels.split(self.batch_size), strict=True
            ):
                yield self.to_pixels(images), labels
        else:
            for chosen in self.order().to(self.images.device).split(self.batch_size):
                # index_select copies whole images; indexing by a tensor takes eight times as long on the CPU
                yield self.to_pixels(self.images.index_select(0, chosen)), self.labels.index_select(0, chosen)
