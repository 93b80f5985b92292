"""What a page or a widget may ask of a model: images of codes, codes of images, samples, near training images."""

import base64
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, TypeGuard

import torch
from matplotlib.colors import to_hex
from torch import Tensor

from vae_lab.data import ImageDataModule
from vae_lab.data.binarization import scale
from vae_lab.errors import NotOffered, UserError
from vae_lab.evaluation.aggregate import evenly
from vae_lab.evaluation.dimensions import activity_of_dimensions
from vae_lab.figures.latent import colour_of, latent_plane, name_of_dimension
from vae_lab.models import Model
from vae_lab.randomness import fixed_noise

POINTS = 10_000  # of the scatter at most
SAMPLES = 64  # in one answer at most
HOTTEST = 4.0  # temperature
CHOSEN = 2000  # images that the activity of the dimensions is measured on, at most
DRAWS = 2000  # of the prior, where there are no images, and for its mean
REACH = 4.0  # standard deviations that a slider reaches from the mean

Answer = dict[str, Any]


class QuestionError(ValueError):
    """A question that has no answer."""


class LatentSpace:
    """A model, and the images that its codes are shown with.

    Args:
        model: model with codes.
        images: images whose codes are the points, as the model takes them; None shows draws of the prior.
        labels: label of each image, (n,), or None.
        names: name of each label.
        training: training images, among which the nearest is looked for, uint8 (m, channels, height, width), or None.
        title: what the page is headed by.

    Raises:
        NotOffered: if the model has no codes.
        UserError: if the codes are not finite.
    """

    def __init__(
        self,
        model: Model,
        images: Tensor | None = None,
        labels: Tensor | None = None,
        names: Sequence[str] = (),
        training: Tensor | None = None,
        title: str = "",
    ) -> None:
        self.model, self.names, self.training, self.title = model.eval(), list(names), training, title
        self._lock = threading.Lock()  # a model is asked one thing at a time
        with fixed_noise(0, model.device), torch.no_grad():
            draws = model.draw_codes(DRAWS)
            self.prior_mean = draws.mean(0)
            self.images, self.labels, self.codes = self._encoded(images, labels, draws)
            middle, spread = self.codes.mean(0), self.codes.std(0, correction=0).clamp_min(1e-3)
            self.low = torch.minimum(middle - REACH * spread, draws.amin(0))  # a sample's code is within, too
            self.high = torch.maximum(middle + REACH * spread, draws.amax(0))
        if not self.codes.isfinite().all():
            raise UserError("the codes are not finite: this model diverged while it was trained")
        self.plane = latent_plane(self.codes)
        self.activity = None if self.images is None else activity_of_dimensions(model, evenly(self.images, CHOSEN))
        self.seconds = self._seconds_of_an_image()

    @classmethod
    def of(cls, model: Model, data: ImageDataModule, title: str = "") -> Self:
        """The latent space of a model with the test and training images of its data, which were read."""
        labels = None if data.labels is None else data.test_labels
        return cls(model, data.test_images, labels, data.labels or (), data.read()[0][0], title)

    def _seconds_of_an_image(self) -> float:
        """Seconds that one image takes; the first one also prepares memory."""
        taken = list[float]()
        while len(taken) < 2 and sum(taken) < 1:
            started = time.perf_counter()
            with torch.no_grad():
                self._decoded(self.codes.mean(0))
            taken.append(time.perf_counter() - started)
        return taken[-1]

    def _encoded(
        self, images: Tensor | None, labels: Tensor | None, draws: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor]:
        """The images with their labels and codes; none, and draws of the prior, where there is nothing to encode."""
        if images is None or not len(images):
            return None, None, draws
        chosen = images[:POINTS]
        try:
            return chosen, None if labels is None else labels[:POINTS], self.model.encode(chosen)
        except NotOffered:
            return None, None, draws

    def answer(self, question: Mapping[str, Any]) -> Answer:
        """The answer to one question, of plain values that JSON holds.

        Args:
            question: what is asked (``ask``), and its arguments.

        Raises:
            QuestionError: if there is no such question, or an argument makes no sense.
        """
        asked: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
            "overview": self._overview,
            "decode": self._decode,
            "image": self._image,
            "sample": self._sample,
            "nearest": self._nearest,
        }
        kind = question.get("ask") if isinstance(question, Mapping) else None
        if not isinstance(kind, str) or kind not in asked:
            raise QuestionError(f"ask is one of {', '.join(asked)}")
        with torch.no_grad():
            return asked[kind](question)

    def _overview(self, _: Mapping[str, Any]) -> Answer:
        points = self.plane.coordinates(self.codes).float().cpu().contiguous().numpy()
        names = self.names if self.labels is not None else []
        return {
            "title": self.title,
            "shape": list(self.model.image_shape),
            "seconds": self.seconds,
            "images_are": self.model.images_are,
            "centre": self.plane.centre.tolist(),
            "axes": self.plane.axes.tolist(),
            "axis_names": list(self.plane.names),
            "points": _encoded(points.astype("<f4").tobytes()),
            "points_are": f"codes of {_count(self.codes, 'draw')} of the prior"
            if self.images is None
            else f"codes of {_count(self.codes, 'test image')}",
            "labels": None if self.labels is None else self.labels.tolist(),
            "names": names,
            "colours": [to_hex(colour_of(label, len(names))) for label in range(len(names))],
            "count": 0 if self.images is None else len(self.images),
            "has_training": self.training is not None,
            "code": self.codes.mean(0).tolist(),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
        } | self._dimensions()

    def _dimensions(self) -> Answer:
        """The latent dimensions: their names, and which is shown first."""
        names = [name_of_dimension(i) for i in range(self.codes.shape[1])]
        if self.activity is None:
            return {"dimensions": names, "order": list(range(len(names))), "activity": None, "activity_is": ""}
        values, _, measure = self.activity
        order = values.argsort(descending=True, stable=True).tolist()
        return {"dimensions": names, "order": order, "activity": values.tolist(), "activity_is": measure}

    def _decode(self, question: Mapping[str, Any]) -> Answer:
        return {"image": _pixels(self._decoded(self._code(question.get("z"))))}

    def _image(self, question: Mapping[str, Any]) -> Answer:
        index = question.get("index")
        if self.images is None or type(index) is not int or not 0 <= index < len(self.images):
            raise QuestionError("index is the number of a test image")
        label = None if self.labels is None else self.names[int(self.labels[index])]
        image = _pixels(self.model.cast(self.images[index]))
        return {"index": index, "z": self.codes[index].tolist(), "image": image, "label": label}

    def _sample(self, question: Mapping[str, Any]) -> Answer:
        n, seed, temperature = (question.get(name) for name in ("n", "seed", "temperature"))
        if type(n) is not int or not 1 <= n <= SAMPLES or type(seed) is not int or not 0 <= seed < 2**63:
            raise QuestionError(f"n is 1 to {SAMPLES}, and seed a number that is not negative")
        if not _is_number(temperature) or not 0 <= temperature <= HOTTEST:
            raise QuestionError(f"temperature is 0 to {HOTTEST:g}")
        with self._lock, fixed_noise(seed, self.model.device):
            codes = self.prior_mean + temperature * (self.model.draw_codes(n) - self.prior_mean)
            images = self.model.decode(codes)
        return {"images": [_pixels(image) for image in images], "codes": codes.tolist()}

    def _nearest(self, question: Mapping[str, Any]) -> Answer:
        if self.training is None:
            raise QuestionError("there are no training images")
        from vae_lab.evaluation.sample_quality import nearest  # late: it imports slowly

        image = self._decoded(self._code(question.get("z")))
        distance, index = nearest(image[None].cpu().float(), self.training)
        found = scale(self.training[index[0]])
        return {"image": _pixels(found), "distance": distance.item(), "index": index.item()}

    def _decoded(self, code: Tensor) -> Tensor:
        """The image of a code, (channels, height, width); a decoder without a mean draws the same one each time."""
        with self._lock, fixed_noise(0, self.model.device):
            return self.model.decode(code)

    def _code(self, numbers: Any) -> Tensor:
        latent = self.codes.shape[1]
        is_code = isinstance(numbers, list) and len(numbers) == latent and all(map(_is_number, numbers))
        if not is_code:
            raise QuestionError(f"z is a list of {latent} numbers")
        return torch.tensor(numbers).to(self.codes)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6 and math.isfinite(value)


def _count(codes: Tensor, what: str) -> str:
    return f"{len(codes):,} {what}{'s' * (len(codes) != 1)}"


def _pixels(image: Tensor) -> str:
    """Grey levels or colours of an image (channels, height, width), a byte each."""
    return _encoded((image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().contiguous().numpy().tobytes())


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
