"""Images in rows: reconstructions, samples, interpolations, copies.

Images are (…, channels, height, width) in [0, 1], on any device. Three channels are colours; one channel is drawn
dark on white, 0 being white, and so is the mean of any other number of channels.
"""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.figures.style import DPI, new_figure, show

GAP = 2  # pixels between images
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
LARGEST = 124  # inches: matplotlib draws no picture of 2¹⁶ pixels or more


def tile(images: Tensor, gap: int = GAP) -> Tensor:
    """Lay images out as one picture, with white gaps between them.

    Args:
        images: images, (rows, columns, channels, height, width).
        gap: number of pixels between two images.

    >>> tile(torch.zeros(2, 3, 1, 28, 28)).shape, tile(torch.zeros(2, 3, 3, 48, 40)).shape
    (torch.Size([58, 88]), torch.Size([98, 124, 3]))
    """
    images = _ink_or_colours(images.detach().float().cpu())
    padded = torch.nn.functional.pad(images, (0, gap, 0, gap), value=_white(images))
    rows, columns, channels, height, width = padded.shape
    picture = padded.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, channels)
    return picture[: rows * height - gap, : columns * width - gap].squeeze(-1)


def size_of_each(images: Tensor, inches: float) -> tuple[float, float]:
    """Width and height of each image in a figure, in inches.

    Args:
        images: images, (rows, columns, channels, height, width).
        inches: length of an image's longer side; it is longer where pixels would be lost otherwise.
    """
    height, width = images.shape[-2:]
    longer = max(height, width)
    side = min(max(inches, 1.25 * longer / DPI), LARGEST / max(images.shape[:2]))
    return side * width / longer, side * height / longer


def image_rows(images: Tensor, title: str, row_names: Sequence[str] = ()) -> Figure:
    """Rows of images under a title.

    Args:
        images: images, (rows, columns, channels, height, width).
        title: text above the images.
        row_names: text before each row, or nothing.
    """
    rows, columns = images.shape[:2]
    width, height = size_of_each(images, 0.62)
    names_width = max(1.3, 0.09 * max(map(len, row_names))) if row_names else 0
    figure = new_figure(max(6.0, width * columns + names_width), max(0.62, height * rows) + 0.55)
    axes = figure.subplots()
    show(axes, tile(images))
    pitch = images.shape[-2] + GAP
    axes.set_yticks([pitch * (i + 0.5) - 1 for i in range(len(row_names))], row_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return figure


def image_grid(images: Tensor, columns: int, title: str) -> Figure:
    """Images row by row under a title; the last row may have fewer.

    Args:
        images: images, (n, channels, height, width).
        columns: number of images in each row.
        title: text above the images.
    """
    missing = images.new_full((-len(images) % columns, *images.shape[1:]), _white(images))
    return image_rows(torch.cat((images, missing)).unflatten(0, (-1, columns)), title)


def reconstructions(originals: Tensor, decoded: Tensor, images_are: str = "means") -> Figure:
    """Images above their reconstructions.

    Args:
        originals: images, (n, channels, height, width).
        decoded: reconstruction of each, of the same shape.
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    title = f"test images and their reconstructions ({images_are})"
    return image_rows(torch.stack((originals.cpu(), decoded.cpu())), title, ("original", "reconstruction"))


def samples(images: Tensor, columns: int, images_are: str = "means") -> Figure:
    """Images decoded from draws of the prior.

    Args:
        images: images, (n, channels, height, width).
        columns: number of images in each row.
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    return image_grid(images, columns, f"samples from the prior ({images_are})")


def layers(images: Tensor) -> Figure:
    """Samples of a ladder with its upper layers held fixed.

    Args:
        images: decoded images, (L + 1, n, channels, height, width); in row k the upper k of L layers are the same.
    """
    count = len(images) - 1
    names = [f"z{layer}".translate(SUBSCRIPTS) for layer in range(count, 0, -1)]  # topmost first
    held = ["none", *names[:1], *(f"{names[0]} … {name}" for name in names[1:])]
    return image_rows(images, "samples with the layers named on the left held at one draw (means)", held)


def interpolation(images: Tensor, names: Sequence[str], images_are: str = "means") -> Figure:
    """Walks between pairs of codes.

    Args:
        images: decoded images, (steps, rows, channels, height, width), α from 0 to 1 along the first dimension.
        names: text before each walk, or nothing.
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    steps = len(images)
    figure = image_rows(images.transpose(0, 1), f"z(α) = (1 − α) z₁ + α z₂, decoded ({images_are})", names)
    axes = figure.axes[0]
    pitch = images.shape[-1] + GAP
    every = max(1, steps // 10)
    axes.set_xticks(
        [pitch * (i + 0.5) - 1 for i in range(0, steps, every)],
        [f"{i / max(1, steps - 1):.1f}" for i in range(0, steps, every)],
        fontsize=8,
    )
    axes.set_xlabel("α")
    return figure


def completions(originals: Tensor, drawn: Tensor, rows: int) -> Figure:
    """Test images, what of them is kept, and images drawn given that.

    Args:
        originals: images, (n, channels, height, width).
        drawn: completed images, (m, n, channels, height, width).
        rows: number of rows that are kept.
    """
    kept = originals.clone()
    # other than black and white, so that what is missing does not look like background
    kept[:, :, rows:] = 0.4
    names = ("original", "kept", *(f"draw {i + 1}" for i in range(len(drawn))))
    pictures = torch.cat((torch.stack((originals, kept)).cpu(), drawn.cpu()))
    return image_rows(pictures, f"the rows below the first {rows}, drawn given those", names)


def resolutions(images: Sequence[Tensor], images_are: str = "means") -> Figure:
    """The same codes decoded at several sizes, a row for each, drawn equally large.

    Args:
        images: images of each size, (n, channels, height, width) each; the last size is a multiple of the others.
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    height, names = images[-1].shape[-2], [f"{part.shape[-2]} × {part.shape[-1]}" for part in images]
    times = [height // part.shape[-2] for part in images]
    rows = [part.repeat_interleave(k, -2).repeat_interleave(k, -1) for part, k in zip(images, times, strict=True)]
    return image_rows(torch.stack(rows), f"the same codes at several resolutions ({images_are})", names)


def copies(drawn: Tensor, originals: Tensor) -> Figure:
    """Samples above the training image that is nearest to each.

    Args:
        drawn: samples, (n, channels, height, width).
        originals: nearest training image of each, of the same shape.
    """
    title = "the samples closest to a training image"
    return image_rows(torch.stack((drawn.cpu(), originals.cpu())), title, ("sample", "training"))


def _ink_or_colours(images: Tensor) -> Tensor:
    channels = images.shape[-3]
    return (images if channels in (1, 3) else images.mean(-3, keepdim=True)).clamp(0, 1)


def _white(images: Tensor) -> float:
    return 1.0 if images.shape[-3] == 3 else 0.0
