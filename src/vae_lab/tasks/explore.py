"""Explore: a page that shows a finished run's latent space, on this machine only."""

import webbrowser
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from omegaconf import DictConfig

from vae_lab.config.build import build_data
from vae_lab.config.saved import read_for_command, read_model, take_place_of_data
from vae_lab.exploring.server import Server
from vae_lab.exploring.space import LatentSpace
from vae_lab.paths import expanded
from vae_lab.runs.folder import RunFolder
from vae_lab.training import hardware

# overrides that may come with task=explore
ALLOWED = ("task", "run_dir", "trust", "threads", "explore", "data.root", "data.file", "hydra")


def explore(config: DictConfig, folder: RunFolder, overrides: Sequence[str]) -> float:  # noqa: ARG001
    """Answer the page's questions until Ctrl-C, on the CPU; nothing is written.

    Args:
        config: config of this command.
        folder: folder of this command, which stays empty.
        overrides: overrides of this command.

    Raises:
        UserError: for a mistake that the user can correct.
    """
    run = RunFolder(Path(expanded(config.run_dir)))
    reason = "a page takes only run_dir, explore.*, threads, data.root and data.file"
    saved, given = read_for_command(run, config.trust, overrides, ALLOWED, reason)
    take_place_of_data(saved, config, given)
    model, data = read_model(run, saved), build_data(saved)
    hardware.set_threads(config.threads)
    data.prepare_data()
    data.setup()
    server = Server(LatentSpace.of(model, data, run.path.resolve().name), config.explore.port)
    print(f"\nopen in a browser on this machine (Ctrl-C ends it):\n{server.url}", flush=True)
    if config.explore.browser:
        webbrowser.open(server.url)
    with closing(server), suppress(KeyboardInterrupt):  # the usual end
        server.run()
    return 0.0
