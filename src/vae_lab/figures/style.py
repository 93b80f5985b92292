"""The look that all figures share: widths, fonts, colours, how images are shown, and how a figure becomes a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.text import Text
from torch import Tensor

from vae_lab.files.atomic import replacing

DPI = 200
ONE_COLUMN, TWO_COLUMNS = 3.4, 7.0  # inches: the widths of a journal's text
WIDEST = 2**16 - 1  # pixels along a side: matplotlib draws no larger picture
MOST = 10**8  # pixels of a picture, which take 400 MB
SMALL = 6.5  # points, of notes inside a figure

# Ten colours that people with every kind of colour vision can tell apart. Source: Petroff, Accessible Color Sequences
# for Data Visualization (2021), https://arxiv.org/abs/2107.02270
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)

STYLE: dict[Any, Any] = {
    "font.size": 8,
    "figure.titlesize": 9,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=COLOURS),
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "vae_lab",  # the same figure gives the same file
}

FileFormat = Literal["png", "pdf", "svg"]


@contextmanager
def styled() -> Iterator[None]:
    """The style inside a block, or a function that this decorates: nobody else's figures change."""
    with matplotlib.rc_context(STYLE):
        yield


class StyledFigure(Figure):
    """A figure that keeps its style wherever it is drawn: matplotlib makes some parts only then."""

    def add_subplot(self, *place: Any, **options: Any) -> Axes:
        """Add axes in the style; the arguments are matplotlib's."""
        with styled():
            axes = super().add_subplot(*place, **options)
            for axis in ("x", "y"):  # kept for the marks that the axis makes later
                axes.tick_params(axis=axis, labelsize=STYLE[f"{axis}tick.labelsize"])
        return axes

    def suptitle(self, t: str, **options: Any) -> Text:
        """Put a title above the figure, in several lines where it is wider; the options are matplotlib's."""
        return super().suptitle(t, wrap=True, **options)

    def draw(self, renderer: RendererBase) -> None:
        """Draw the figure in its style."""
        with styled():
            super().draw(renderer)

    def savefig(self, fname: Any, **options: Any) -> None:
        """Save the figure in its style; the options are matplotlib's."""
        with styled():
            super().savefig(fname, **options)

    def _repr_png_(self) -> bytes:
        """The figure for a notebook, which without pyplot nothing else tells how to show it."""
        content = BytesIO()
        self.savefig(content, format="png")
        return content.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure whose parts are laid out so that they do not overlap.

    Args:
        width: width in inches, ``ONE_COLUMN`` or ``TWO_COLUMNS`` where that is enough.
        height: height in inches.
    """
    return StyledFigure(figsize=(width, height), dpi=DPI, layout="constrained")


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


def outline(text: Artist) -> None:
    """Put a white line around letters, so that they can be read on points of any colour."""
    text.set_path_effects([withStroke(linewidth=2, foreground="white")])


class Form(NamedTuple):
    """What figures are saved as.

    Args:
        format: png, or pdf or svg, in which lines and letters stay sharp at every size.
        dpi: pixels per inch; in pdf and svg those of images and of clouds of points.
    """

    format: FileFormat = "png"
    dpi: int = DPI

    def save(self, figure: Figure, place: Path, about: str = "") -> np.ndarray:
        """Save a figure as ``place.FORMAT``; see ``render``."""
        return render(figure, place.with_name(f"{place.name}.{self.format}"), self.dpi, about)


def render(figure: Figure, file: Path, dpi: float = DPI, about: str = "") -> np.ndarray:
    """Save a figure, completely or not at all; the same figure gives the same bytes.

    Args:
        figure: figure to save.
        file: path of the file, whose ending says the format; missing folders are made.
        dpi: pixels per inch, of a pdf or svg those of its images; lower where a picture would be too large.
        about: what the file says of itself in its description.

    Returns:
        The pixels, (height, width, 3), uint8.

    Raises:
        DiskError: if the file cannot be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    kind = file.suffix[1:]
    width, height = figure.get_size_inches()
    figure.dpi = min(dpi, WIDEST / max(width, height), (MOST / (width * height)) ** 0.5)
    canvas = FigureCanvasAgg(figure)
    with replacing(file) as out:
        figure.savefig(out, format=kind, dpi=figure.dpi, metadata=_metadata(kind, about))
    if kind != "png":
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _metadata(kind: str, about: str) -> dict[str, Any]:
    """What a file says of itself: who made it and how, and no date."""
    told: dict[str, dict[str, Any]] = {
        "png": {"Software": "vae_lab", "Description": about},
        "pdf": {"Creator": "vae_lab", "Subject": about, "CreationDate": None},
        "svg": {"Creator": "vae_lab", "Description": about, "Date": None},
    }
    return told[kind]
