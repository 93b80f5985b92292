"""What the tests build with: a small model, an exact one, a small data set, a quiet trainer."""

import contextlib
import io
import logging
import math
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import Callback, Trainer
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.distributions import Independent, MultivariateNormal, Normal

from vae_lab import cli
from vae_lab.data import ImageDataModule
from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import MLPEncoder
from vae_lab.likelihoods import Bernoulli
from vae_lab.losses import KL, Loss
from vae_lab.models import VAE, Model
from vae_lab.priors import Prior, StandardNormal
from vae_lab.training.module import Training

SHAPE = (1, 28, 28)


def small_vae(latent_dim: int = 2, prior: Prior | None = None) -> VAE:
    encoder = MLPEncoder(latent_dim, [32, 16], SHAPE)
    decoder = MLPDecoder(latent_dim, [32, 16], Bernoulli(), SHAPE)
    return VAE(encoder, decoder, prior or StandardNormal(latent_dim))


def small_training(latent_dim: int = 2, loss: Loss | None = None, **options) -> Training:
    return Training(small_vae(latent_dim, options.pop("prior", None)), loss or KL(), **options)


def digits(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images with one bright square each, whose place is the label: learnable, and made in no time."""
    labels = torch.arange(n) % 10
    images = torch.zeros(n, 1, 28, 28, dtype=torch.uint8)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 4 + 10 * (label // 5) : 14 + 10 * (label // 5), 2 + 5 * (label % 5) : 8 + 5 * (label % 5)] = 200
    return images, labels


def pictures(n: int, shape: tuple[int, int, int], kinds: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright bar each, whose channel, height and brightness say the label: learnable, not symmetric."""
    labels = torch.arange(n) % kinds
    images = torch.randint(0, 60, (n, *shape), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    for image, label in zip(images, labels.tolist(), strict=True):
        height = int((label + 1) / (kinds + 1) * shape[1]) + 1
        image[label % shape[0], :height, : shape[2] // 2] = 150 + label % 100
    return images, labels


class Pictures(ImageDataModule):
    """A generated set of images of any shape, with as many labels as wanted.

    Args:
        shape: channels, height and width.
        kinds: number of labels; 0 for images without labels.
        n: number of images for training and validation together.
        test_n: number of test images.
        folder: folder of what is made from the set.
    """

    def __init__(self, shape, kinds=10, n=60, test_n=24, folder=Path(), **options) -> None:
        self.name, self.image_shape, self.train_size, self.folder = "pictures", shape, n, folder
        self.kinds, self.test_n = kinds, test_n
        self.labels = tuple(f"kind {i}" for i in range(kinds)) or None
        super().__init__(**{"batch_size": 10, "validation": 10, "binarization": "none"} | options)

    def read(self):
        kinds = max(self.kinds, 1)
        return pictures(self.train_size, self.image_shape, kinds), pictures(self.test_n, self.image_shape, kinds)


def trainer(folder: Path, **options) -> Trainer:
    settings = {
        "accelerator": "cpu",
        "max_epochs": 2,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
    }
    return Trainer(default_root_dir=str(folder), **(settings | options))


class Follower(Callback):
    """Sees each batch, and stops with an error after some steps if asked."""

    def __init__(self, fail_at=-1):
        self.fail_at, self.seen = fail_at, []

    def on_train_batch_start(self, trainer, _, batch, batch_idx):
        self.seen.append((batch_idx, trainer.global_step, len(batch[0])))

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.fail_at:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/cut_off.ckpt")
            raise KeyError("cut off")


def assert_nothing_is_cut_off(figure: Figure) -> None:
    figure.dpi = 60  # as quick as a small picture is drawn
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    whole = figure.bbox
    for part in (*figure.axes, *figure.texts):
        box = part.get_tightbbox(canvas.get_renderer())
        assert box.x0 >= whole.x0 - 1
        assert box.y0 >= whole.y0 - 1
        assert box.x1 <= whole.x1 + 1
        assert box.y1 <= whole.y1 + 1


class LinearGaussian(VAE):
    """p(z) = N(0, I), p(x|z) = N(Wz + b, s²I): its evidence and posterior are known exactly."""

    def __init__(self, latent: int = 2) -> None:
        Model.__init__(self, (1, 2, 3))
        self.w = torch.randn(6, latent, dtype=torch.float64)
        self.b = torch.randn(6, dtype=torch.float64)
        self.s2 = 0.3
        self.prior = StandardNormal(latent).double()
        precision = torch.eye(latent, dtype=torch.float64) + self.w.T @ self.w / self.s2
        self.covariance = precision.inverse()

    def decoder(self, z):
        mean = (z @ self.w.T + self.b).unflatten(-1, self.image_shape)
        return Independent(Normal(mean, math.sqrt(self.s2)), 3)

    def encoder(self, x):
        mean = (x.flatten(1) - self.b) @ self.w @ self.covariance.T / self.s2
        return MultivariateNormal(mean, self.covariance)

    def evidence(self, x):
        covariance = self.w @ self.w.T + self.s2 * torch.eye(6, dtype=torch.float64)
        return MultivariateNormal(self.b, covariance).log_prob(x.flatten(1))


FIGURES = (
    "reconstructions",
    "samples",
    "latent_grid",
    "interpolation",
    "latent_scatter",
    "traversals",
    "kl_by_dimension",
    "nelbo",
)
# a run of a moment over the small files, with one figure
TINY = (
    "trainer.accelerator=cpu",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=2",
    "data.batch_size=32",
    "data.validation=30",
    "hidden_dims=[8]",
    "latent_dim=2",
    *(f"callbacks.{name}=null" for name in FIGURES[:-1]),
)


class Answer(NamedTuple):
    """What the program answered: its exit code and what it printed."""

    code: int
    out: str
    err: str


def call(*arguments: str) -> Answer:
    """The program in this process, in the current folder: as a person starts it, without the seconds of a start."""
    before, handlers = sys.argv, logging.getLogger().handlers[:]
    out, err, code = io.StringIO(), io.StringIO(), 0
    sys.argv = ["vae_lab", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                cli.main()
            except SystemExit as end:
                code = int(end.code or 0)
    finally:
        sys.argv = before
        for handler in set(logging.getLogger().handlers) - set(handlers):
            handler.close()  # Hydra opens the log of each run, and leaves it open
        logging.getLogger().handlers[:] = handlers
    return Answer(code, out.getvalue(), err.getvalue())


PACKAGE = Path(cli.__file__).parent
PROGRAM = (sys.executable, "-m", "vae_lab")
IMPORTS_TOLD = (sys.executable, "-X", "importtime", "-m", "vae_lab")


def start(*arguments: str, folder: Path, root: Path | str = "", program: Sequence[str] = PROGRAM) -> subprocess.Popen:
    """The real program in a folder, as a process group of its own; the data lie below root."""
    return subprocess.Popen(
        [*program, *arguments],
        cwd=folder,
        env=os.environ | {"VAE_LAB_DATA": str(root), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen) -> subprocess.CompletedProcess:
    """What became of a process, at its end."""
    out, err = process.communicate(timeout=400)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


MAIN = "from vae_lab.cli import main; main()"
_IMPORTED = multiprocessing.get_context("forkserver")
_IMPORTED.set_forkserver_preload(["vae_lab.cli", "vae_lab.tasks.run", "vae_lab.sweeps.job", "vae_lab.sweeps.report"])


class Warm:
    """A process as ``subprocess.Popen`` gives one, of the part of its methods that the tests call.

    Args:
        process: a process that was started.
        said: folder with what it prints, ``out`` and ``err``; deleted at its end.
        args: its arguments, for messages.
    """

    def __init__(self, process: multiprocessing.Process, said: Path, args: Sequence[str]) -> None:
        self.process, self.said, self.args, self.pid = process, said, args, process.pid

    @property
    def returncode(self) -> int | None:
        return self.process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.process.terminate()

    def kill(self) -> None:
        self.process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        out, err = ((self.said / name).read_text() for name in ("out", "err"))
        shutil.rmtree(self.said)
        return out, err


def start_warm(*arguments: str, folder: Path, root: Path | str = "", script: str = MAIN) -> Warm:
    """As ``start``, in a process that was forked from one that has imported the program, without running anything.

    A process of its own for locks, signals and kills, without the five seconds of imports: where the start itself
    is not what a test looks at.

    Args:
        arguments: command line.
        folder: its current folder.
        root: folder of the data.
        script: Python that it runs, ``MAIN`` for the program.
    """
    said = Path(tempfile.mkdtemp())
    environment = os.environ | {"VAE_LAB_DATA": str(root), "OMP_NUM_THREADS": "1"}
    process = _IMPORTED.Process(
        target=_forked,
        args=(script, arguments, folder, environment, said),
        daemon=True,  # ends with the tests, however they end
    )
    process.start()
    return Warm(process, said, arguments)


def _forked(script: str, arguments: Sequence[str], folder: Path, environment: dict[str, str], said: Path) -> None:
    """What such a process does: take on the surroundings of a new one, and run."""
    os.setsid()
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)  # OMP_NUM_THREADS is read when torch is imported
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(said / name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [str(PACKAGE / "__main__.py"), *arguments]
    exec(script, {"__name__": "__main__"})


def wait_for(*files: Path, seconds: float = 60) -> None:
    """Until a process has written all of them."""
    end = time.monotonic() + seconds
    while not all(file.exists() for file in files):
        assert time.monotonic() < end, f"{[str(file) for file in files if not file.exists()]} did not appear"
        time.sleep(0.05)
