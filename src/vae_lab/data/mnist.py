"""MNIST and the sets of the same form."""

import hashlib
from typing import Annotated, Any, Literal

from pydantic import Field

from vae_lab.annotations import BatchSize, Digest, ImageCount, Seed
from vae_lab.data import mnist_files as files
from vae_lab.data.base import ImageDataModule, Split
from vae_lab.data.binarization import Binarization
from vae_lab.data.mnist_places import FILES, SetName
from vae_lab.errors import ConfigError, DataError


class MNISTDataModule(ImageDataModule):
    """One of the sets in MNIST's form: small grey images of ten kinds, to train on and to test on.

    Args:
        name: name of the set.
        root: folder of the data files; None is the user's cache, or the folder that VAE_LAB_DATA names.
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: dynamic draws each pixel again for each batch, static draws it once, threshold cuts at ½,
            none keeps the grey levels.
        validation: number of training images that are held out, or none.
        validation_choice: which images are held out, the last ones or random ones.
        split_seed: seed of the random choice.
        binarization_seed: seed of the draws that are made once.
        seed: seed of the training order.
        checksums: official takes the set's own files only, and fetches them; own takes the user's files of that form
            as they are, of any number and size of images, and fetches nothing.
        sha256: of own files, the SHA-256 of training images, training labels, test images and test labels, which they
            must have; None takes any. A run's config records it.

    Raises:
        ConfigError: if the sizes do not fit the set.
        DataError: for own files that are missing, damaged or others; for the set's from ``prepare_data``, if they are
            not there and cannot be fetched.
    """

    name: SetName

    def __init__(
        self,
        name: SetName = "mnist",
        root: Annotated[str, Field(min_length=1)] | None = None,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "dynamic",
        validation: ImageCount | Literal["none"] = 5000,
        validation_choice: Literal["last", "random"] = "last",
        split_seed: Seed = 14,
        binarization_seed: Seed = 0,
        seed: Seed = 0,
        checksums: Literal["official", "own"] = "official",
        sha256: Annotated[list[Digest], Field(min_length=4, max_length=4)] | None = None,
    ) -> None:
        self.name, self.root, self.folder = name, root, files.folder_of(name, root)
        self.image_shape, self.labels, self.train_size = files.IMAGE_SHAPE, files.LABELS[name], files.TRAIN_IMAGES
        self.own: tuple[Split, Split] | None = None
        if checksums == "own":
            self._take_own(sha256)
        elif sha256 is not None:
            raise ConfigError("data.sha256", sha256, "is of data.checksums=own; leave it out")
        super().__init__(
            batch_size,
            eval_batch_size,
            binarization,
            validation,
            validation_choice,
            split_seed,
            binarization_seed,
            seed,
        )

    def prepare_data(self) -> None:
        """Fetch the files that are missing or damaged, once for each machine."""
        self.read()

    def read(self) -> tuple[Split, Split]:
        """The four files' images and labels."""
        return self.own or files.load_once(self.name, self.root)

    @property
    def recorded(self) -> dict[str, Any]:
        """The SHA-256 of own files."""
        return {"sha256": self.digests} if self.own else {}

    def _take_own(self, expected: list[str] | None) -> None:
        """Read the user's own files now, since they say what the shape, the labels and the number of images are."""
        self.own, digests = files.load_own(self.name, self.root)
        for file, digest, wanted in zip(FILES, digests, expected or digests, strict=True):
            if digest != wanted:
                reason = f"is not the file that data.sha256 names ({wanted[:12]}…, this one is {digest[:12]}…)"
                raise DataError(
                    f"{file} in {self.folder.parent} {reason}; put that one back, or name its folder: data.root=FOLDER"
                )
        (images, labels), (_, test_labels) = self.own
        channels, height, width = images.shape[1:]
        self.image_shape, self.train_size = (channels, height, width), len(images)
        largest = int(max(labels.max(), test_labels.max()))
        if largest >= len(self.labels or ()):
            self.labels = tuple(str(label) for label in range(largest + 1))
        self.digests = digests
        # what is made from these files is not for others
        self.folder /= f"own-{hashlib.sha256(''.join(digests).encode()).hexdigest()[:12]}"
