"""MNIST and the sets of the same form."""

from typing import Literal

from vae_lab.annotations import BatchSize, ImageCount, Seed
from vae_lab.data import mnist_files as files
from vae_lab.data.base import ImageDataModule, Split
from vae_lab.data.binarization import Binarization


class MNISTDataModule(ImageDataModule):
    """One of the sets in MNIST's form: small grey images of ten kinds, to train on and to test on.

    Args:
        name: which set.
        root: folder of the data files; None is the user's cache, or the folder that VAE_LAB_DATA names.
        batch_size: number of images of a training step, over all processes together.
        eval_batch_size: number of images of a validation or test step.
        binarization: dynamic draws each pixel again for each batch, static draws it once, threshold cuts at ½,
            none keeps the grey levels.
        validation: number of training images that are held out, or none.
        validation_choice: which are held out, the last ones or random ones.
        split_seed: seed of the random choice.
        binarization_seed: seed of the draws that are made once.
        seed: seed of the training order.

    Raises:
        ConfigError: if the sizes do not fit the set.
        DataError: from ``prepare_data``, if the files are not there and cannot be fetched.
    """

    name: files.SetName

    def __init__(
        self,
        name: files.SetName = "mnist",
        root: str | None = None,
        batch_size: BatchSize = 100,
        eval_batch_size: BatchSize = 1000,
        binarization: Binarization = "dynamic",
        validation: ImageCount | Literal["none"] = 5000,
        validation_choice: Literal["last", "random"] = "last",
        split_seed: Seed = 14,
        binarization_seed: Seed = 0,
        seed: Seed = 0,
    ) -> None:
        self.name, self.root, self.folder = name, root, files.folder_of(name, root)
        self.image_shape, self.labels, self.train_size = files.IMAGE_SHAPE, files.LABELS[name], files.TRAIN_IMAGES
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
        """Fetch the files that are missing or damaged, once a machine."""
        self.read()

    def read(self) -> tuple[Split, Split]:
        """The four files' images and labels."""
        return files.load_once(self.name, self.root)
