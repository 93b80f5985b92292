"""A run folder: the files of one run, where they lie, and the model that they hold.

What a sweep's report reads of a run needs no torch, so that it is imported only where a model is.
"""

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from vae_lab.errors import RunFolderError

if TYPE_CHECKING:
    from vae_lab.vae import VAE


class RunFolder:
    """The files of one run; nothing in them names the folder, so it can be moved.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.metrics_file = self.path / "metrics.json"
        self.figures = self.path / "figures"
        self.checkpoints = self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint with the best NELBO."""
        return self.checkpoints / "best.ckpt"

    def discard_if_empty(self, with_folder: bool = True) -> None:
        """Take the log away where nothing else was written yet, and the folder with it if it is this program's own."""
        log = self.path / "run.log"
        if [entry.name for entry in self.path.iterdir()] in ([], [log.name]):
            log.unlink(missing_ok=True)
            if with_folder and self.path.resolve() != Path.cwd():
                self.path.rmdir()

    def write_config(self, config: DictConfig) -> None:
        """Save the config with every interpolation resolved."""
        replace_file(self.config_file, OmegaConf.to_yaml(config, resolve=True))

    def read_config(self) -> DictConfig:
        """The config of the run, held to allowed targets and values.

        Raises:
            RunFolderError: if it is missing or unreadable.
            ConfigError: if it names what no config of ours would.
        """
        from vae_lab.config import check, check_targets

        config = self.read_plain_config()
        check_targets(OmegaConf.to_container(config))
        check(config)
        return config

    def read_plain_config(self) -> DictConfig:
        """The config of the run as it is written: to be shown, not to build objects from.

        Raises:
            RunFolderError: if it is missing or unreadable.
        """
        try:
            config = OmegaConf.load(self.config_file)
        except FileNotFoundError as error:
            raise RunFolderError(f"{self.path}: no config.yaml in it; give the folder of a finished run") from error
        except (OSError, ValueError, YAMLError, OmegaConfBaseException) as error:
            reason = " ".join(str(error).split())
            raise RunFolderError(f"{self.config_file}: cannot be read as a config ({reason})") from error
        if not isinstance(config, DictConfig):
            raise RunFolderError(f"{self.config_file}: cannot be read as a config")
        return config

    def write_metrics(self, metrics: dict[str, Any]) -> None:
        """Save the figures of the run as one flat object."""
        replace_file(self.metrics_file, json.dumps(metrics, indent=2) + "\n")

    def read_metrics(self) -> dict[str, Any]:
        """The figures of the run; empty where none were written yet.

        Raises:
            RunFolderError: if the file is damaged.
        """
        try:
            metrics = json.loads(self.metrics_file.read_text())
            if not isinstance(metrics, dict):
                raise ValueError("no object")
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.metrics_file}: damaged ({error}); delete it and evaluate again") from error
        return metrics

    def read_history(self) -> list[dict[str, float]]:
        """The figures of each epoch; empty where the run kept no ``metrics.csv``.

        Raises:
            RunFolderError: if the file is damaged.
        """
        file = self.path / "metrics.csv"
        if not file.exists():
            return []
        try:
            with file.open(newline="") as lines:
                # an epoch without validation leaves its cells empty
                rows = csv.DictReader(lines)
                return [{name: float(value) for name, value in row.items() if value != ""} for row in rows]
        except (OSError, ValueError, TypeError) as error:
            raise RunFolderError(f"{file}: damaged ({error}); delete it to go on without the history") from error

    def load_weights(self, model: "VAE") -> None:
        """Load the best checkpoint's weights into a model.

        Raises:
            RunFolderError: if there is no checkpoint, or it is damaged or of another model.
        """
        import torch

        try:
            checkpoint = torch.load(self.best, map_location="cpu", weights_only=True)
            model.load_state_dict(checkpoint["state_dict"])
        except FileNotFoundError as error:
            raise RunFolderError(
                f"{self.best}: there is no checkpoint; the run did not finish its first epoch"
            ) from error
        except Exception as error:
            # a damaged file breaks in the unpickler, the archive or the tensors, each with its own exception
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise RunFolderError(f"{self.best}: damaged, or of another model ({reason})") from error


def load(run_dir: Path | str) -> "VAE":
    """The trained model of a run, on the CPU, in evaluation mode.

    Args:
        run_dir: folder of a finished run. Its files are data: nothing in them is executed.

    Raises:
        RunFolderError: if a file is missing or damaged.
        ConfigError: if the config names classes that are not vae_lab's.
    """
    from vae_lab.config import build_model

    folder = RunFolder(run_dir)
    if not folder.path.is_dir():
        raise RunFolderError(f"{run_dir}: there is no such folder; give the folder of a finished run")
    model = build_model(folder.read_config())
    folder.load_weights(model)
    model.history = folder.read_history()
    return model.eval()


def replace_file(target: Path, text: str) -> None:
    """Write beside the target and rename, so that no reader meets half a file."""
    partial = target.with_name(target.name + ".part")
    partial.write_text(text)
    partial.replace(target)
