"""A folder of pictures."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from vae_lab.annotations import BatchSize, Digest, Seed, Size
from vae_lab.data.binarization import Binarization
from vae_lab.data.own_images import HeldOut, OwnImages
from vae_lab.data.picture_cache import Wish, load
from vae_lab.paths import expanded

HeightAndWidth = Annotated[list[Size], Field(min_length=2, max_length=2)]


class ImagesDataModule(OwnImages):
    """The pictures in a folder, in any format that Pillow reads, at any depth.

    Folders ``train``, ``val`` and ``test`` are used where they are there; what is missing of the last two is drawn
    from the pictures for training. Where each picture lies in a folder, its name is the label. The pictures are decoded
    once, into the user's cache.

    Args:
        root: folder of the pictures. Nothing is written into it.
        size: height and width in pixels, or one number for both; a picture is scaled until it covers them, and its
            centre is cut out. None keeps the size, if all have the same.
        channels: 1 for grey, 3 for red, green and blue; None is 1 if all pictures are grey.
        skip_damaged: leave out pictures that cannot be read, and say which.
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: dynamic draws each pixel again for each batch, static draws it once, threshold cuts at ½,
            none keeps the levels.
        validation: number of training images that are held out, a share of them, or none; None is the folder ``val``,
            or a tenth.
        test: number of images for the test, or a share; None is the folder ``test``, or a tenth.
        split_seed: seed of the draw of images for validation and test.
        binarization_seed: seed of the draws that are made once.
        seed: seed of the training order.
        sha256: digest of the names and the content of the pictures, which they must have; None takes any. A run's
            config records it.

    Raises:
        ConfigError: if the sizes do not fit the pictures.
        DataError: if there are no pictures, or some are damaged.
    """

    def __init__(
        self,
        root: Annotated[str, Field(min_length=1)],
        size: Size | HeightAndWidth | None = None,
        channels: Literal[1, 3] | None = None,
        skip_damaged: bool = False,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "none",
        validation: HeldOut | Literal["none"] = None,
        test: HeldOut = None,
        split_seed: Seed = 14,
        binarization_seed: Seed = 0,
        seed: Seed = 0,
        sha256: Digest | None = None,
    ) -> None:
        self.root = Path(os.path.abspath(expanded(root)))  # noqa: PTH100  resolve() would follow the user's links
        height_and_width = (size, size) if isinstance(size, int) else size and (size[0], size[1])
        wish = Wish(self.root, height_and_width or None, channels, validation, test, split_seed, skip_damaged)
        own, self.folder = load(wish)
        self.name = self.root.name
        self._take(own, self.root, sha256, "data.root")
        super().__init__(
            batch_size,
            eval_batch_size,
            binarization,
            own.sizes[1] or "none",
            binarization_seed=binarization_seed,
            seed=seed,
        )

    @property
    def recorded(self) -> dict[str, Any]:
        """The folder, so that the run can be evaluated from anywhere, and the digest."""
        return super().recorded | {"root": str(self.root)}
