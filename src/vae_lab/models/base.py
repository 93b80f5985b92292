"""What training, evaluation, figures and tasks may use of a model: nothing else, and no concrete class."""

import itertools
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vae_lab.distributions.summaries import has_mean, representative
from vae_lab.errors import ImageError, NotOffered
from vae_lab.likelihoods import Likelihood
from vae_lab.models.border import Range, Values, as_tensor, cast, check_bits, check_form, check_levels, check_values
from vae_lab.models.draws import Bounds, Draws, bounds
from vae_lab.models.export import export
from vae_lab.randomness import fixed_noise
from vae_lab.recorded import Recorded

VALUES_AT_ONCE = 1_568_000  # of decoded images, 6 MB, and some copies of it: more do not fit into a processor's cache
ON_GPU = 8  # times as many on a GPU, which would wait for launches
CODES_AT_ONCE = 32  # of an image in the importance-weighted bound: a decoder may share what does not depend on them


class Model(Recorded, nn.Module):
    """A model of images. What a kind of model does not offer raises NotOffered, and is left out with a line in the log.

    Args:
        image_shape: (channels, height, width) of its images.
    """

    criterion = "nelbo"
    """Name of the figure that runs are chosen by; lower is better."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape[0], image_shape[1], image_shape[2]
        self._first: list[Tensor] = []  # in a list: an attribute would be a second name of the parameter
        self.history: list[dict[str, float]] = []
        """Figures of each epoch that it was trained for."""

    # --- what a kind of model defines ----------------------------------------------------------------

    def numbers_of(self, x: Tensor) -> Tensor:
        """The numbers that name q(z|x) within its family, (batch, numbers), of images x as the model's parts take them.

        They are what a network says of each image; ``inferred_from`` makes q(z|x) of them, whoever found them.
        """
        raise self._lack("an encoder")

    def inferred_from(self, numbers: Tensor) -> Any:
        """What ``draw`` needs to know of z given each image.

        Args:
            numbers: numbers that name q(z|x), (batch, numbers).
        """
        raise self._lack("an encoder")

    def draw(self, inferred: Any, x: Tensor, k: int) -> Draws:
        """k draws of z for each image, with their densities.

        Args:
            inferred: result of ``infer`` for x.
            x: images, (batch, channels, height, width).
            k: number of draws of z for each image.
        """
        raise self._lack("a likelihood")

    def densities(self, z: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(z) and log p(x|z) in nats, (…, batch) each.

        Args:
            z: joint codes, (…, batch, latent).
            x: images, (batch, channels, height, width).
        """
        raise self._lack("a likelihood")

    def codes_of(self, inferred: Any) -> Tensor:
        """One representative code for each image, (batch, latent), from the result of ``infer``."""
        raise self._lack("codes")

    def draw_codes(self, n: int) -> Tensor:
        """n draws from the prior, (n, latent)."""
        raise self._lack("codes")

    def images_given(self, z: Tensor) -> torch.distributions.Distribution:
        """p(x|z) of codes z (…, latent)."""
        raise self._lack("codes")

    def images_of_size(self, z: Tensor, height: int, width: int) -> torch.distributions.Distribution:
        """p(x|z) of codes z (…, latent) for images of another height and width than those of training, in pixels."""
        raise self._lack("images of other sizes")

    def samples_with_fixed(self, n: int) -> Tensor:
        """Samples (L + 1, n, channels, height, width): in row k all n have the upper k of L layers in common.

        Args:
            n: number of samples in each row.
        """
        raise self._lack("layers of latent variables")

    def complete(self, x: Tensor, rows: int) -> Tensor:
        """Images whose first rows are those of images x, and whose other values are drawn given them.

        Args:
            x: images, (batch, channels, height, width), binarized as in training.
            rows: number of rows that are kept, a multiple of ``rows_at_once``.
        """
        raise self._lack("images that are drawn in order")

    def start_at(self, mean_image: Tensor) -> None:
        """Start the untrained model's images near the data's mean image, (channels, height, width) in [0, 1]."""
        raise self._lack("an output bias")

    def averaged_weights(self) -> list[nn.Parameter]:
        """The weights whose moving average ``training.ema`` keeps: all that learn."""
        return [weight for weight in self.parameters() if weight.requires_grad]

    @property
    def pixel_range(self) -> Range:
        """Smallest and largest value of a pixel that the model's likelihood takes."""
        likelihood = self.likelihood_of_pixels
        return likelihood.pixel_range if likelihood else (-math.inf, math.inf)

    @property
    def likelihood_of_pixels(self) -> Likelihood | None:
        """What makes p(x|z) of a network's outputs; None where that is not known of the model."""
        return None

    @property
    def levels(self) -> int | None:
        """Number n of levels k / (n − 1) that log p(x) is a probability of; None where it is of other pixels."""
        return self.likelihood_of_pixels.levels if self.likelihood_of_pixels else None

    @property
    def needs_bits(self) -> bool:
        """Whether every pixel must be 0 or 1."""
        return False

    @property
    def rows_at_once(self) -> int:
        """What the number of rows that ``complete`` keeps is a multiple of."""
        return 1

    @property
    def images_are(self) -> str:
        """What ``decode`` gives, for titles: means of p(x|z), or draws where it has no mean."""
        try:
            return "means" if has_mean(self.images_given(self.draw_codes(1))) else "draws"
        except NotOffered:
            return "draws"

    def _lack(self, what: str) -> NotOffered:
        return NotOffered(f"{type(self).__name__} does not have {what}")

    # --- what people look for, and what serves ---------------------------------------------------------

    def forward(self, *_: Any, **__: Any) -> Any:
        """Refuse: a model has no single output."""
        raise NotOffered("a model has no single output: use its encode(x), reconstruct(x), log_prob(x) or sample(n)")

    def to_onnx(self, *_: Any, **__: Any) -> Any:
        """Refuse: the networks can be exported, and not the draws between them."""
        raise NotOffered(
            "a model as a whole is not exported: model.export(FOLDER) writes its encoder and decoder as ONNX and .pt2"
        )

    @classmethod
    def load_from_checkpoint(cls, *_: Any, **__: Any) -> Any:
        """Refuse: a checkpoint does not say what its model is made of."""
        raise NotOffered(
            "a checkpoint has weights and no parts: vae_lab.load(RUN_FOLDER) gives the model of a run, and "
            "vae_lab.Training.load_from_checkpoint(file, model=model, loss=loss) puts weights into a model built before"
        )

    # --- what follows for every kind -----------------------------------------------------------------

    def infer(self, x: Tensor) -> Any:
        """What the model knows of z given images x (batch, channels, height, width), computed once for each image."""
        return self.inferred_from(self.numbers_of(x))

    def measure(self, x: Tensor) -> dict[str, Tensor]:
        """Figures of each image in validation and test, (batch,) each, from one draw of z, whatever the loss is."""
        return self.draw(self.infer(x), x, 1).terms()

    @torch.no_grad()
    def encode(self, x: Values) -> Tensor:
        """One representative code of each image: the posterior's mean where it has one.

        Args:
            x: images, (…, channels, height, width), values in [0, 1].

        Returns:
            Codes, (…, latent).
        """
        images = self.admit(x, one_batch=False).reshape(-1, *self.image_shape)
        # in parts: the activations of a convolutional net for 10,000 images take a gigabyte
        codes = [self.codes_of(self.infer(part)) for part in images.split(self.at_once)]
        found = torch.cat(codes)
        return found.reshape(*x.shape[:-3], *found.shape[1:])

    @torch.no_grad()
    def decode(self, z: Values, size: int | tuple[int, int] | None = None) -> Tensor:
        """Images of codes: the mean of p(x|z) where it has one, else a draw.

        Args:
            z: codes, (…, latent).
            size: height and width of the images in pixels, one number for squares; None is that of training. Other
                sizes need decoder=coordinate.

        Returns:
            Images, (…, channels, height, width), values in [0, 1].

        Raises:
            ValueError: if codes have another length, or an image would have no pixel.
        """
        z = self.cast(z)
        try:
            if size is None:
                return representative(self.images_given(z))
            height, width = (size, size) if isinstance(size, int) else size
            if min(height, width) < 1:
                raise ValueError(f"size={size} must be at least one pixel")
            return representative(self.images_of_size(z, height, width))
        except RuntimeError as error:  # torch's words for shapes that do not fit
            with fixed_noise(0, self.device):
                length = self.draw_codes(1).shape[-1]
            if z.shape[-1:] == (length,):
                raise
            raise ValueError(f"codes are (…, {length}), and these are {tuple(z.shape)}") from error

    def reconstruct(self, x: Values) -> Tensor:
        """Images decoded from the codes of images x (…, channels, height, width)."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Images of n codes drawn from the prior, (n, channels, height, width)."""
        return self.decode(self.draw_codes(n))

    def interpolate(self, x1: Values, x2: Values, steps: int = 11) -> Tensor:
        """Images along z(α) = (1 − α) z₁ + α z₂ between the codes of two images.

        Args:
            x1: images at α = 0, (…, channels, height, width).
            x2: images at α = 1, of the same shape.
            steps: number of α, evenly from 0 to 1.

        Returns:
            Images, (steps, …, channels, height, width).
        """
        return self.walk(self.encode(x1), self.encode(x2), steps)

    def walk(self, z1: Values, z2: Values, steps: int = 11) -> Tensor:
        """Images along z(α) = (1 − α) z₁ + α z₂ between codes.

        Args:
            z1: codes at α = 0, (…, latent).
            z2: codes at α = 1, of the same shape.
            steps: number of α, evenly from 0 to 1.

        Returns:
            Images, (steps, …, channels, height, width).
        """
        start, end = self.cast(z1), self.cast(z2)
        alpha = torch.linspace(0, 1, steps, device=start.device, dtype=start.dtype)
        return self.decode(torch.lerp(start, end, alpha.view(-1, *[1] * start.dim())))

    def traverse(self, x: Tensor, dim: int, reach: float = 3.0, steps: int = 11) -> Tensor:
        """Images of the codes of images in which one dimension is changed.

        Args:
            x: images, (…, channels, height, width).
            dim: index of the latent dimension, from 0.
            reach: it goes from −reach to reach, in units of z.
            steps: number of its values.

        Returns:
            Images, (steps, …, channels, height, width).

        Raises:
            IndexError: if there is no such dimension.
        """
        z = self.encode(x)
        if not 0 <= dim < z.shape[-1]:
            raise IndexError(f"dim={dim}: the codes have the dimensions 0 to {z.shape[-1] - 1}")
        codes = z.repeat(steps, *[1] * z.dim())
        codes[..., dim] = torch.linspace(-reach, reach, steps).to(z).view(-1, *[1] * (z.dim() - 1))
        return self.decode(codes)

    @torch.no_grad()
    def log_prob(self, x: Values, k: int = 100) -> Tensor:
        """Importance-weighted lower bound of log p(x) from k draws of z, in nats.

        Args:
            x: images, (batch, channels, height, width), binarized as in training.
            k: number of draws for each image; the bound rises to log p(x) with k.

        Returns:
            Bounds, (batch,).
        """
        return -self.bounds(x, k).nll

    @torch.no_grad()
    def bounds(self, x: Values, k: int, at_once: int | None = None) -> Bounds:
        """NELBO, its terms and the importance-weighted bound of images, from exactly k draws of z for each.

        Each image is inferred once, and images and draws are taken in parts that fit into memory.

        Args:
            x: images, (batch, channels, height, width), binarized as in training.
            k: number of draws for each image.
            at_once: number of images decoded together; None derives it from their size.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1, and it is {k}")
        x = self.admit(x)
        if not len(x):
            raise ImageError("there are no images")
        at_once = at_once or self.at_once
        found = [self._bounds(part, k, at_once) for part in x.split(max(1, at_once // min(k, CODES_AT_ONCE)))]
        return Bounds(*map(torch.cat, zip(*found, strict=True)))

    def _bounds(self, x: Tensor, k: int, at_once: int) -> Bounds:
        """The bounds of images that are decoded together, each with as many draws at a time as there is room for."""
        inferred, part = self.infer(x), max(1, at_once // len(x))
        return bounds(self.draw(inferred, x, min(part, k - start)) for start in range(0, k, part))

    def export(self, folder: Path | str) -> Path:
        """Write the encoder (images to codes) and the decoder (codes to mean images) for other programs.

        ``encoder`` and ``decoder`` as ``.pt2`` (``torch.export.load``) and ``.onnx``, for batches of any size in
        float32, compared with the model by onnxruntime to 1e-5, and ``weights.safetensors``. What it lacks is left out.

        Args:
            folder: new folder, or an empty one. It is complete, or not there.

        Raises:
            NotOffered: if it has no network that can be exported.
            UserError: if the folder holds something, or a package of the extra ``export`` is missing.
        """
        return export(self, folder)

    @property
    def at_once(self) -> int:
        """Number of images that may be decoded together."""
        values = VALUES_AT_ONCE * (ON_GPU if self.device.type == "cuda" else 1)
        return max(1, values // self.values_of_image)

    @property
    def values_of_image(self) -> int:
        """Number of values that are kept for an image while it is decoded."""
        outputs = self.likelihood_of_pixels.outputs if self.likelihood_of_pixels else 1
        return outputs * math.prod(self.image_shape)

    @property
    def device(self) -> torch.device:
        """The device of the model's tensors."""
        return self._any_tensor().device

    def _any_tensor(self) -> Tensor:
        # a parameter is the same object on every device, and to look for it at each step takes 20 µs
        if not self._first:
            self._first = list(itertools.islice(self.parameters(), 1))
        return self._first[0] if self._first else next(self.buffers(), torch.zeros(()))

    def admit(self, images: Values, one_batch: bool = True, look: bool = True, bits: bool = True) -> Tensor:
        """Images from outside as the model's parts take them: the one way in.

        Args:
            images: a tensor or a numpy array of numbers of any precision in the likelihood's range, bits, or bytes,
                whose grey levels 0 … 255 become 0 … 1.
            one_batch: whether the shape is (batch, channels, height, width); else (…, channels, height, width).
            look: whether the values are checked too, which waits for the device.
            bits: whether they must be 0 or 1, or levels, where the model needs it; not for a mean of images.

        Raises:
            ImageError: names what was found and what is expected.
        """
        images = as_tensor(images)
        check_form(images, self.image_shape, one_batch)
        if look:
            check_values(images, self.pixel_range)
            if bits and self.needs_bits:
                check_bits(images)
            if bits and self.levels:
                check_levels(images, self.levels)
        return self.cast(images)

    def cast(self, values: Values) -> Tensor:
        """Images or codes on the device and in the precision of the model; bytes become grey levels from 0 to 1."""
        return cast(as_tensor(values), self._any_tensor())
