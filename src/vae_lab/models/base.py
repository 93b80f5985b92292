"""What training, evaluation, figures and tasks may ask of a model. They ask nothing else, and of no concrete class."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from vae_lab.distributions.summaries import representative
from vae_lab.errors import NotOffered
from vae_lab.models.draws import Bounds, Draws, bounds

PIXELS_AT_ONCE = 1_568_000  # values of decoded images that lie in memory together: 6 MB, and some copies of it


class Model(nn.Module):
    """A model of images. What a kind of model does not offer raises NotOffered, and is left out with a word.

    Args:
        image_shape: (channels, height, width) of its images.
    """

    criterion = "nelbo"
    """Name of the figure that runs are chosen by; lower is better."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.history: list[dict[str, float]] = []
        """Figures of each epoch that it was trained for."""

    # --- what a kind of model defines ----------------------------------------------------------------

    def infer(self, x: Tensor) -> Any:
        """What the model knows of z given images x (batch, channels, height, width), computed once for each image."""
        raise self._lack("an encoder")

    def draw(self, inferred: Any, x: Tensor, k: int) -> Draws:
        """k draws of z for each image, with their densities.

        Args:
            inferred: what ``infer`` gave for x.
            x: images, (batch, channels, height, width).
            k: number of draws of z for each image.
        """
        raise self._lack("a likelihood")

    def codes_of(self, inferred: Any) -> Tensor:
        """One representative code for each image, (batch, latent), from what ``infer`` gave."""
        raise self._lack("codes")

    def draw_codes(self, n: int) -> Tensor:
        """n draws from the prior, (n, latent)."""
        raise self._lack("codes")

    def images_given(self, z: Tensor) -> torch.distributions.Distribution:
        """p(x|z) of codes z (…, latent)."""
        raise self._lack("codes")

    def start_at(self, mean_image: Tensor) -> None:
        """Let an untrained model's images be about the data's mean image, (channels, height, width) in [0, 1]."""
        raise self._lack("an output bias")

    def _lack(self, what: str) -> NotOffered:
        return NotOffered(f"{type(self).__name__} does not have {what}")

    # --- what follows for every kind -----------------------------------------------------------------

    def measure(self, x: Tensor) -> dict[str, Tensor]:
        """Figures of each image in validation and test, (batch,) each, from one draw of z, whatever the loss is."""
        return self.draw(self.infer(x), x, 1).terms()

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """One representative code of each image: the posterior's mean where it has one.

        Args:
            x: images, (…, channels, height, width), values in [0, 1].

        Returns:
            Codes, (…, latent).
        """
        images = self.cast(x).reshape(-1, *self.image_shape)
        # in parts: the activations of a convolutional net for 10,000 images take a gigabyte
        codes = [self.codes_of(self.infer(part)) for part in images.split(self.at_once)]
        return torch.cat(codes).reshape(*x.shape[:-3], -1)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Images of codes: the mean of p(x|z) where it has one, else a draw.

        Args:
            z: codes, (…, latent).

        Returns:
            Images, (…, channels, height, width), values in [0, 1].
        """
        return representative(self.images_given(self.cast(z)))

    def reconstruct(self, x: Tensor) -> Tensor:
        """Images decoded from the codes of images x (…, channels, height, width)."""
        return self.decode(self.encode(x))

    @torch.no_grad()
    def sample(self, n: int) -> Tensor:
        """Images of n codes drawn from the prior, (n, channels, height, width)."""
        return self.decode(self.draw_codes(n))

    def interpolate(self, x1: Tensor, x2: Tensor, steps: int = 11) -> Tensor:
        """Images along z(α) = (1 − α) z₁ + α z₂ between the codes of two images.

        Args:
            x1: images at α = 0, (…, channels, height, width).
            x2: images at α = 1, of the same shape.
            steps: number of α, evenly from 0 to 1.

        Returns:
            Images, (steps, …, channels, height, width).
        """
        return self.walk(self.encode(x1), self.encode(x2), steps)

    def walk(self, z1: Tensor, z2: Tensor, steps: int = 11) -> Tensor:
        """Images along z(α) = (1 − α) z₁ + α z₂ between codes.

        Args:
            z1: codes at α = 0, (…, latent).
            z2: codes at α = 1, of the same shape.
            steps: number of α, evenly from 0 to 1.

        Returns:
            Images, (steps, …, channels, height, width).
        """
        alpha = torch.linspace(0, 1, steps, device=z1.device, dtype=z1.dtype)
        return self.decode(torch.lerp(z1, z2, alpha.view(-1, *[1] * z1.dim())))

    @torch.no_grad()
    def log_prob(self, x: Tensor, k: int = 100) -> Tensor:
        """Importance-weighted lower bound of log p(x) from k draws of z, in nats.

        Args:
            x: images, (batch, channels, height, width), binarized as the model was trained.
            k: number of draws for each image; the bound rises to log p(x) with k.

        Returns:
            Bounds, (batch,).
        """
        return -self.bounds(x, k).nll

    @torch.no_grad()
    def bounds(self, x: Tensor, k: int, at_once: int | None = None) -> Bounds:
        """NELBO, its terms and the importance-weighted bound of images, from exactly k draws of z for each.

        Each image is inferred once, and draws are made in parts that fit into memory.

        Args:
            x: images, (batch, channels, height, width), binarized as the model was trained.
            k: number of draws for each image.
            at_once: images decoded together, at the least one for each of x; None follows from the images' size.
        """
        x = self.cast(x)
        inferred, part = self.infer(x), max(1, (at_once or self.at_once) // len(x))
        return bounds(self.draw(inferred, x, min(part, k - start)) for start in range(0, k, part))

    @property
    def at_once(self) -> int:
        """Number of images that may be decoded together."""
        return max(1, PIXELS_AT_ONCE // math.prod(self.image_shape))

    @property
    def device(self) -> torch.device:
        """Where the model's tensors lie."""
        return self._any_tensor().device

    def _any_tensor(self) -> Tensor:
        return next(itertools.chain(self.parameters(), self.buffers()), torch.zeros(()))

    def cast(self, values: Tensor) -> Tensor:
        """Images or codes on the device and in the precision of the model."""
        of_model = self._any_tensor()
        return values.to(of_model.device, of_model.dtype)
