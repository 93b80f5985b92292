"""A run as Python sees it: its model, what it measured, its pictures."""

from collections.abc import Sequence
from functools import cached_property
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf

from vae_lab.api.pictures import Pictures
from vae_lab.config.build import build_data
from vae_lab.config.saved import load, read_config, take_place_of_data
from vae_lab.data import ImageDataModule
from vae_lab.errors import RunFolderError, UserError, to_install
from vae_lab.models import Model
from vae_lab.paths import expanded
from vae_lab.runs.folder import RunFolder, is_finished
from vae_lab.sweeps.report import csv_of
from vae_lab.sweeps.runs import find
from vae_lab.sweeps.sweep import Sweep
from vae_lab.tasks.summary import table

if TYPE_CHECKING:
    import pandas


class TrainedRun:
    """A finished run. In a notebook it shows its figures as a table.

    Args:
        folder: folder of the run. Its files are data: nothing in them is executed.
        data_root: folder of the data; None is ``$VAE_LAB_DATA``, or the user's cache, and for data of one's own the
            folder that the run was trained from.
        trust: names of packages, besides vae_lab, whose classes the run may name; their code runs.

    Raises:
        RunFolderError: if there is no finished run, or its files are damaged.

    >>> run = vae_lab.TrainedRun("outputs/runs/…")                 # doctest: +SKIP
    >>> run.metrics["test/nelbo"], run.history["val/nelbo"].min()  # doctest: +SKIP
    """

    def __init__(self, folder: Path | str, data_root: Path | str | None = None, trust: Sequence[str] = ()) -> None:
        self.folder, self._trust = Path(expanded(folder)), trust
        self._files, self._data_root = RunFolder(self.folder), data_root
        if not is_finished(self._files.read_metrics()):
            raise RunFolderError(f"{folder}: there is no finished run in it")

    @property
    def metrics(self) -> dict[str, Any]:
        """What the run measured, by name, such as ``test/nelbo``: the content of ``metrics.json``."""
        return self._files.read_metrics()

    @property
    def history(self) -> "pandas.DataFrame":
        """What it measured in each epoch: a row for each, counted from 1, and a column for each figure."""
        frame = _pandas().DataFrame(self._files.read_history())
        if len(frame):
            frame["epoch"] = frame["epoch"].astype(int) + 1
            frame = frame.set_index("epoch")
        return frame

    @cached_property
    def model(self) -> Model:
        """The trained model, on the CPU, in evaluation mode."""
        return load(self.folder, self._trust)

    @cached_property
    def data(self) -> ImageDataModule:
        """The data of the run, read: ``test_images`` and ``test_labels`` are tensors."""
        config = read_config(self._files, self._trust)
        given = [] if self._data_root is None else ["data.root"]
        place = OmegaConf.create({"data": {"root": str(self._data_root) if given else None, "file": None}})
        take_place_of_data(config, place, given)
        data = build_data(config)
        data.prepare_data()
        data.setup()
        return data

    @cached_property
    def figures(self) -> Pictures:
        """Pictures of the model: ``run.figures.grid()``, ``.scatter()``, ``.samples()`` and others."""
        return Pictures(self.model, self.data)

    def __repr__(self) -> str:
        return table(self.metrics, self.folder).strip()


def table_of_runs(folder: Path | str) -> "pandas.DataFrame":
    """The runs below a folder as a table: a row for each, the best first, with the settings that differ and figures.

    Args:
        folder: folder that holds runs, at any depth, such as ``outputs/runs`` or that of a sweep.

    Raises:
        RunFolderError: if it holds no runs.
        UserError: if pandas is not installed.
    """
    pandas = _pandas()
    find(expanded(folder))
    return pandas.read_csv(StringIO(csv_of(Sweep(Path(expanded(folder))))))


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise UserError(f"tables need pandas: {to_install(error)}, or pip install 'vae_lab[notebook]'") from error
    return pandas
