"""The look that figures share: resolution, how images are shown, and how a figure becomes a file."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

DPI = 120


def new_figure(width: float, height: float) -> Figure:
    """An empty figure whose parts are laid out so that they do not overlap.

    Args:
        width: width in inches.
        height: height in inches.
    """
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def show(
    axes: Axes, picture: Tensor, extent: tuple[float, float, float, float] | None = None, aspect: float = 1
) -> None:
    """Show a picture: colours as they are, and one channel dark on white, 0 being white.

    Args:
        axes: axes to draw on.
        picture: pixels, (height, width) or (height, width, 3), in [0, 1].
        extent: left, right, bottom and top end in the units of the axes; None counts pixels.
        aspect: length of the vertical unit divided by the length of the horizontal unit.
    """
    axes.imshow(picture.numpy(), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest", extent=extent, aspect=aspect)


def render(figure: Figure, file: Path) -> np.ndarray:
    """Save a figure as PNG.

    Args:
        figure: figure to save.
        file: path of the file; missing folders are made.

    Returns:
        The pixels, (height, width, 3), uint8.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    canvas = FigureCanvasAgg(figure)
    figure.savefig(file)
    return np.asarray(canvas.buffer_rgba())[..., :3]
