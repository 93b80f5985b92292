"""Images in rows: reconstructions, samples, interpolations, traversals, copies.

Images are (…, channels, height, width) in [0, 1], on any device. Three channels are colours; one channel is drawn
dark on white, 0 being white, and so is the mean of any other number of channels.
"""

from collections.abc import Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vae_lab.figures.style import DPI, ONE_COLUMN, SMALL, TWO_COLUMNS, new_figure, show, styled

GAP = 1  # pixels between images
LINE = 0.15  # darkness of what is between images
CELL = 0.6  # inches: the longer side of an image where there is room for it
IN_ROW = 10  # images with a text each
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
LARGEST = 2**15 / DPI  # inches: about half of what matplotlib draws


def tile(images: Tensor, gap: int = GAP, line: float = LINE) -> Tensor:
    """Lay images out as one picture, with lines between them that tell images on white apart.

    Args:
        images: images, (rows, columns, channels, height, width).
        gap: number of pixels between two images.
        line: darkness of these pixels; 0 is white.

    >>> tile(torch.zeros(2, 3, 1, 28, 28)).shape, tile(torch.zeros(2, 3, 3, 48, 40)).shape
    (torch.Size([57, 86]), torch.Size([97, 122, 3]))
    """
    images = _ink_or_colours(images.detach().float().cpu())
    padded = torch.nn.functional.pad(images, (0, gap, 0, gap), value=abs(_white(images) - line))
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


@styled()
def image_rows(images: Tensor, title: str, row_names: Sequence[str] = ()) -> Figure:
    """Rows of images under a title.

    Args:
        images: images, (rows, columns, channels, height, width).
        title: text above the images.
        row_names: text before each row, or nothing.
    """
    names = _width_of(row_names)
    width, height = size_of_each(images, min(CELL, (TWO_COLUMNS - names - 0.1) / images.shape[1]))
    figure = _figure_for(images.shape[1] * width + names, images.shape[0] * height)
    axes = figure.subplots()
    _show_rows(axes, tile(images), images.shape[-2], row_names)
    figure.suptitle(title)
    return figure


def image_grid(images: Tensor, columns: int, title: str) -> Figure:
    """Images row by row under a title; the last row may have fewer.

    Args:
        images: images, (n, channels, height, width).
        columns: number of images in each row.
        title: text above the images.
    """
    return image_rows(_filled(images, columns).unflatten(0, (-1, columns)), title)


@styled()
def pairs(above: Tensor, below: Tensor, names: tuple[str, str], captions: Sequence[str], title: str) -> Figure:
    """Images above others that belong to them, with a text below each pair.

    Args:
        above: images, (n, channels, height, width).
        below: images, of the same shape.
        names: text before the upper and before the lower images.
        captions: text below each pair, n of them.
        title: text above all.
    """
    columns = min(IN_ROW, len(above))
    blocks = torch.stack([_filled(part.cpu(), columns).unflatten(0, (-1, columns)) for part in (above, below)], 1)
    names_width = _width_of(names)
    width, height = size_of_each(blocks[0], min(CELL, (TWO_COLUMNS - names_width - 0.1) / columns))
    figure = _figure_for(columns * width + names_width, len(blocks) * (max(CELL, 2 * height) + 0.3))
    for row, axes in enumerate(figure.subplots(len(blocks), 1, squeeze=False)[:, 0]):
        _show_rows(axes, tile(blocks[row]), above.shape[-2], names)
        texts = captions[row * columns : (row + 1) * columns]
        axes.set_xticks(_middles(len(texts), above.shape[-1]), texts)
    figure.suptitle(title)
    return figure


def reconstructions(originals: Tensor, decoded: Tensor, errors: Tensor, images_are: str = "means") -> Figure:
    """Images above their reconstructions, with the error below each.

    Args:
        originals: images, (n, channels, height, width).
        decoded: reconstruction of each, of the same shape.
        errors: −log p(x|z) at the code of each image, in nats, (n,).
        images_are: what the images are: means, or draws where the decoder has no mean.
    """
    title = f"test images and their reconstructions ({images_are}), with −log p(x|z) in nats below"
    captions = [f"{error:.0f}" if abs(error) >= 100 else f"{error:.1f}" for error in errors.tolist()]
    return pairs(originals, decoded, ("original", "reconstruction"), captions, title)


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


@styled()
def interpolation(
    images: Tensor,
    images_are: str = "means",
    ends: tuple[Tensor, Tensor] | None = None,
    names: Sequence[tuple[str, str]] = (),
) -> Figure:
    """Walks between pairs of codes, between the images that these are the codes of.

    Args:
        images: decoded images, (steps, rows, channels, height, width), α from 0 to 1 along the first dimension.
        images_are: what the images are: means, or draws where the decoder has no mean.
        ends: the images whose codes are at α = 0 and at α = 1, (rows, channels, height, width) each; None where the
            codes are draws from the prior.
        names: name of the first and of the last image of each walk.
    """
    steps, (height, width) = len(images), images.shape[-2:]
    walks = images.transpose(0, 1)
    picture, start = tile(walks), 0
    if ends is not None:
        first, last = (tile(end.unsqueeze(1)) for end in ends)
        gap = torch.full_like(picture[:, : width // 3 + 1], _white(_ink_or_colours(images)))
        start = first.shape[1] + gap.shape[1]
        picture = torch.cat((first, gap, picture, gap, last), 1)
    cells = picture.shape[1] / width
    left, right = (_width_of([name[side] for name in names]) for side in (0, 1))
    across, down = size_of_each(walks, min(CELL, (TWO_COLUMNS - left - right - 0.1) / cells))
    figure = _figure_for(cells * across + left + right, max(CELL, len(walks) * down) + 0.3)
    axes = figure.subplots()
    _show_rows(axes, picture, height, [name for name, _ in names])
    if names:
        beside = axes.secondary_yaxis("right")
        beside.set_yticks(_middles(len(walks), height), [name for _, name in names])
        beside.tick_params(length=0)
        beside.spines[:].set_visible(False)
    every = max(1, steps // 10)
    marks = {start + place: f"{i / max(1, steps - 1):.1f}" for i, place in enumerate(_middles(steps, width))}
    shown = dict(list(marks.items())[::every])
    if ends is not None:
        shown |= {_middles(1, width)[0]: "image", picture.shape[1] - width / 2 - 0.5: "image"}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.set_xlabel("α")
    between = "draws from the prior" if ends is None else "codes of test images"
    figure.suptitle(f"z(α) = (1 − α) z₁ + α z₂ between {between}, decoded ({images_are})")
    return figure


@styled()
def traversals(images: Tensor, names: Sequence[str], reach: float, title: str) -> Figure:
    """The images of one code in which one number is changed, a row for each number.

    Args:
        images: decoded images, (rows, steps, channels, height, width).
        names: what is changed in each row.
        reach: the number goes from −reach to reach.
        title: text above the images.
    """
    figure = image_rows(images, title, names)
    steps, axes = images.shape[1], figure.axes[0]
    values = torch.linspace(-reach, reach, steps).tolist()
    every = max(1, steps // 10)
    axes.set_xticks(_middles(steps, images.shape[-1])[::every], [_number(value) for value in values[::every]])
    axes.set_xlabel("value of the dimension")
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


def copies(drawn: Tensor, originals: Tensor, relative: Tensor) -> Figure:
    """Samples above the training image that is nearest to each.

    Args:
        drawn: samples, (n, channels, height, width).
        originals: nearest training image of each, of the same shape.
        relative: their distance, divided by what is usual for test images of the same label, (n,).
    """
    title = (
        "the samples closest to a training image, with their distance below; 1 is usual for test images of the label"
    )
    return pairs(drawn, originals, ("sample", "training"), [f"{value:.2f}" for value in relative.tolist()], title)


def _figure_for(width: float, height: float) -> Figure:
    """A figure for images of some inches, with room for a title and for what stands below."""
    return new_figure(max(ONE_COLUMN, width + 0.1), max(CELL, height) + 0.5)


def _show_rows(axes: Axes, picture: Tensor, height: int, names: Sequence[str]) -> None:
    """Show a picture of rows of images that are some pixels high, with a name before each row."""
    show(axes, picture)
    axes.set_yticks(_middles(len(names), height), names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.tick_params(axis="x", labelsize=SMALL)
    axes.spines[:].set_visible(False)


def _number(value: float) -> str:
    """A number with one digit after the point, 0 without a sign."""
    return f"{round(value, 1) + 0.0:.1f}".replace("-", "−")


def _middles(n: int, side: int) -> list[float]:
    """Where the middles of n images in a line are, in pixels."""
    return [(side + GAP) * i + (side - 1) / 2 for i in range(n)]


def _width_of(names: Sequence[str]) -> float:
    """Inches that names before rows take."""
    longest = max((len(line) for name in names for line in name.splitlines()), default=0)
    return 0.1 + 0.065 * longest if names else 0.0


def _filled(images: Tensor, columns: int) -> Tensor:
    """Images (n, channels, height, width), and white ones up to a full row."""
    missing = images.new_full((-len(images) % columns, *images.shape[1:]), _white(images))
    return torch.cat((images, missing))


def _ink_or_colours(images: Tensor) -> Tensor:
    channels = images.shape[-3]
    return (images if channels in (1, 3) else images.mean(-3, keepdim=True)).clamp(0, 1)


def _white(images: Tensor) -> float:
    return 1.0 if images.shape[-3] == 3 else 0.0
