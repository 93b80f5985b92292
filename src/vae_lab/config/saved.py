"""The checked config and the trained model of a run folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from vae_lab.annotations import ImageShape
from vae_lab.config.build import build_data, build_model, image_shape_of
from vae_lab.config.check import check
from vae_lab.config.settings import check_overrides, key_of, parts_of
from vae_lab.config.trust import trusted
from vae_lab.data import ImageDataModule
from vae_lab.errors import ConfigError, ModelSizeError, RunFolderError
from vae_lab.models import Model
from vae_lab.paths import expanded
from vae_lab.runs.folder import RunFolder

BESIDE_THE_WEIGHTS = 2**28  # bytes that building a model may take besides them, for masks and the like

# overrides that may come with resume=: where the run is computed
OF_RESUME = (
    "resume",
    "trust",
    "hydra",
    "data.root",
    "data.file",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.graphs",
    "threads",
)


def load(run_dir: Path | str, trust: Sequence[str] = ()) -> Model:
    """The trained model of a run, on the CPU, in evaluation mode.

    Args:
        run_dir: folder of a finished run. Its files are data: nothing in them is executed.
        trust: names of packages, besides vae_lab, whose classes the run may be made of. They are imported, and their
            code runs.

    Raises:
        RunFolderError: if a file is missing or damaged, or names a class of a package that is not trusted.

    >>> model = load("outputs/runs/my-run", trust=["mylab"])  # doctest: +SKIP
    """
    folder = RunFolder(expanded(run_dir))
    if not folder.path.is_dir():
        raise RunFolderError(f"{run_dir}: there is no such folder; give the folder of a finished run")
    return read_model(folder, read_config(folder, trust)).eval()


def read_config(folder: RunFolder, trust: Any = (), with_loggers: bool = False) -> DictConfig:
    """The config of a run, its targets and values checked.

    Args:
        folder: folder of the run.
        trust: names of packages, besides vae_lab, whose classes it may name; what the folder says of that is not read.
        with_loggers: whether loggers are made of it; else they are left out, whatever they are.

    Raises:
        RunFolderError: if it is missing, unreadable, or names a class that is not trusted or does not belong there.
    """
    of_reader = trusted(trust, folder.path)
    config = folder.read_plain_config()
    if not with_loggers and "logger" in config:
        config.logger = {}
    try:
        check(config, of_reader)
    except ConfigError as error:
        raise RunFolderError(f"{folder.config_file}: {error}") from error
    return config


def read_model(folder: RunFolder, config: DictConfig) -> Model:
    """The trained model of a run, with its history.

    Args:
        folder: folder of the run.
        config: checked config of the run.

    Raises:
        RunFolderError: if a file is missing or damaged, or the config describes a model that is larger than what the
            checkpoint can hold.
    """
    checkpoint = folder.read_checkpoint(folder.best)
    try:
        image_shape = _image_shape(config)
        model = build_model(config, image_shape, folder.best.stat().st_size + BESIDE_THE_WEIGHTS)
    except (ConfigError, ModelSizeError) as error:
        raise RunFolderError(f"{folder.config_file}: {error}") from error
    folder.load_weights(model, checkpoint)
    model.history = folder.read_history()
    return model


def _image_shape(config: DictConfig) -> ImageShape:
    """The shape of a run's images; for the user's own files as recorded, since loading a model opens no file."""
    needs_files = _shape_needs_files(config) or config.data.get("checksums") == "own"
    if not needs_files:
        return image_shape_of(config, build_data(config))
    if config.get("image_shape") is None:
        raise ConfigError("image_shape", None, "must be the shape of the run's images")
    channels, height, width = config.image_shape
    return channels, height, width


def _shape_needs_files(config: DictConfig) -> bool:
    """Whether the data are a person's own, so that no file may be needed to load a model."""
    kind = get_class(config.data._target_)
    return issubclass(kind, ImageDataModule) and kind.shape_needs_files


def config_of_resumed(folder: RunFolder, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """The saved config of a run to resume, with the overrides of where it is computed.

    Args:
        folder: folder of the run.
        config: config that was composed for this command.
        overrides: overrides of this command.

    Raises:
        ConfigError: if an override would change what the run is.
    """
    reason = "a run goes on with its own settings, except trainer.accelerator, data.root and data.file"
    saved, overrides = read_for_command(folder, config.trust, overrides, OF_RESUME, reason, with_loggers=True)
    for override in overrides:
        key = override.partition("=")[0].lstrip("+~")
        if not key.startswith(("resume", "trust", "hydra")):
            OmegaConf.update(saved, key, OmegaConf.select(config, key))
    if saved.task != "train":
        raise ConfigError("resume", folder.path, f"is a run of task={saved.task}, which cannot be continued")
    return saved


def read_for_command(
    folder: RunFolder,
    trust: Sequence[str],
    overrides: Sequence[str],
    allowed: tuple[str, ...],
    reason: str,
    with_loggers: bool = False,
) -> tuple[DictConfig, list[str]]:
    """The config of a run, and a command's overrides without the run's own choice of data, as data.file=… needs.

    Args:
        folder: folder of the run.
        trust: modules that its config may name besides those of vae_lab.
        overrides: overrides of the command.
        allowed: beginnings of the keys that the command may set.
        reason: why it may not set others.
        with_loggers: whether the loggers are part of the config.

    Raises:
        ConfigError: if an override would change what the run is.
        RunFolderError: if the config is missing or damaged.
    """
    check_overrides([override for override in overrides if key_of(override) != "data"], allowed, reason)
    saved = read_config(folder, trust, with_loggers=with_loggers)
    own = f"data={parts_of(saved)['data']}"
    given = [override for override in overrides if override != own]
    check_overrides(given, allowed, reason)  # another choice of data
    return saved, given


def take_place_of_data(saved: DictConfig, config: DictConfig, overrides: Sequence[str]) -> None:
    """Read the data where this command says; else a set that is fetched from its usual place, others where they were.

    Args:
        saved: config of the run, which is changed.
        config: config that was composed for this command.
        overrides: overrides of this command.
    """
    given = [key_of(override) for override in overrides]
    for key in ("root", "file"):
        if f"data.{key}" in given:
            if key not in saved.data:
                choice = parts_of(saved)["data"]
                raise ConfigError(f"data.{key}", config.data[key], f"a run of data={choice} has no such key")
            saved.data[key] = config.data[key]
        elif key in saved.data and not _shape_needs_files(saved):
            saved.data[key] = config.data.get(key)
