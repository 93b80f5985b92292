"""The loops that benchmarks/gpu.py compares vae_lab with, on one device: each returns steps per second.

lightning  Lightning's default Trainer, torchvision's transforms and a DataLoader, three self.log a step
captured   the data resident on the device, and one graph that draws a batch, binarizes it and makes the step: by hand,
           about the least that torch can do; on a CPU the same function without a graph

Models, losses and learning rates are vae_lab's own, so that the arithmetic is the same.
"""

import logging
import tempfile
import time
import warnings
from collections.abc import Callable
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.optim import Adam
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from vae_lab.data import mnist_files as files
from vae_lab.losses import Loss
from vae_lab.models import Model


def by_lightning(model: Model, loss: Loss, batch: int, dynamic: bool, device: torch.device, steps: int) -> float:
    """Steps per second of default Lightning, from its first step to its last."""
    warnings.filterwarnings("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Lit(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss = model, loss
            self.started = self.ended = 0.0

        def training_step(self, batch: Any, _: int) -> Tensor:
            outcome = self.loss(self.model, batch[0])
            means = {name: value.mean() for name, value in outcome.figures.items()}
            self.log_dict(means, on_step=False, on_epoch=True, prog_bar=True)
            return outcome.loss

        def configure_optimizers(self) -> Adam:
            return Adam(self.parameters(), lr=1e-3)

        def on_train_start(self) -> None:
            self.started = time.perf_counter()

        def on_train_end(self) -> None:
            _wait(device)
            self.ended = time.perf_counter()

    to_bits: list[Any] = [torch.bernoulli] if dynamic else []
    images = datasets.MNIST(
        str(files.folder_of("mnist", None).parent), transform=transforms.Compose([transforms.ToTensor(), *to_bits])
    )
    lit = Lit()
    with tempfile.TemporaryDirectory() as folder:
        accelerator = "gpu" if device.type == "cuda" else "cpu"
        options: dict[str, Any] = {"max_steps": steps, "max_epochs": -1, "default_root_dir": folder, "devices": 1}
        trainer = lightning.Trainer(accelerator=accelerator, enable_progress_bar=False, **options)
        trainer.fit(lit, DataLoader(images, batch_size=batch, shuffle=True))
    return steps / (lit.ended - lit.started)


def by_hand(model: Model, loss: Loss, batch: int, dynamic: bool, device: torch.device, steps: int) -> float:
    """Steps per second of a graph that was captured by hand, after it was captured."""
    model.to(device)
    grey = files.load("mnist", None)[0][0].to(device)
    on_gpu = device.type == "cuda"
    optimizer = Adam(model.parameters(), lr=1e-3, fused=True, capturable=on_gpu)
    total = torch.zeros((), device=device)

    def step() -> None:
        chosen = torch.randint(len(grey), (batch,), device=device)
        x = grey.index_select(0, chosen).float().div_(255)
        outcome = loss(model, torch.bernoulli(x) if dynamic else x)
        optimizer.zero_grad()
        outcome.loss.backward()
        optimizer.step()
        total.add_(outcome.loss.detach())

    run = _graph_of(step) if on_gpu else step
    started = time.perf_counter()
    for _ in range(steps):
        run()
    _wait(device)
    return steps / (time.perf_counter() - started)


def _graph_of(step: Callable[[], None]) -> Callable[[], None]:
    """A step as a graph, after three steps on a stream of their own, as torch's notes on graphs have it."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
