"""What this process sets up once, so that a run does not pay for it at every step."""

import ctypes
import os
import platform
import time
from typing import Literal

import torch
from torch import Tensor, nn

Matmul = Literal["torch", "onednn"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h

GAIN = 1.15  # oneDNN must be so much quicker to be chosen: less than that differs from one measurement to the next
ROUNDS = 5  # in turn, and the quickest of each counts
ROWS = 512  # of the measured product at the most: larger batches take longer and show the same ratio


def set_up() -> None:
    """Keep freed memory, and look for a GPU once. Call it after Lightning is imported."""
    keep_freed_memory()
    # Lightning sets this to 1; each step of a fused optimiser then asks the driver again whether there is a GPU
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def keep_freed_memory() -> None:
    """Let the heap keep the activations that a step frees, for the next step.

    By default glibc gives them back to the kernel, and the page faults of the next step take a third of the time of a
    convolutional net. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for name, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20)):
            libc.mallopt(name, value)


def multiply_by(library: Matmul) -> Matmul:
    """Let a library multiply float32 matrices on the CPU; gives the one that will.

    torch uses MKL, which takes twice as long as oneDNN on some processors that are not Intel's. The only switch to
    oneDNN is the permission to round to bfloat16. Only processors with matrix units make use of that permission, and
    there torch's own choice stays.

    Args:
        library: ``onednn``, or ``torch`` for torch's own choice.
    """
    # beside a GPU Lightning asks for the precision in an older way, which torch refuses once this one was used
    if torch.cuda.is_available() or not torch.backends.mkldnn.is_available():
        return "torch"
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at run time
    matmul.fp32_precision = "bf16" if library == "onednn" else "none"
    fine = torch.full((64, 64), 1 + 2.0**-12)  # 1 in bfloat16
    if library == "onednn" and not torch.equal(fine @ torch.eye(64), fine):
        matmul.fp32_precision = "none"
        return "torch"
    return library


def quicker_library(model: nn.Module, batch_size: int) -> Matmul:
    """The library that takes less time for the largest product of a model's training, measured for some milliseconds.

    Args:
        model: the model that will be trained; its largest linear layer is measured, forwards and backwards.
        batch_size: number of images of a training step.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers or multiply_by("onednn") == "torch":
        return "torch"
    weight = max((layer.weight for layer in layers), key=Tensor.numel).detach().float().cpu()
    x = torch.ones(min(batch_size, ROWS), weight.shape[1])
    gradient = x @ weight.T
    libraries: tuple[Matmul, Matmul] = ("torch", "onednn")
    seconds = dict.fromkeys(libraries, float("inf"))
    for _ in range(ROUNDS):
        for library in libraries:
            multiply_by(library)
            seconds[library] = min(seconds[library], _seconds(x, weight, gradient))
    return "onednn" if seconds["torch"] > GAIN * seconds["onednn"] else "torch"


def _seconds(x: Tensor, weight: Tensor, gradient: Tensor) -> float:
    """Time of the three products of one layer in one step, the quickest of a few."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        x @ weight.T
        gradient @ weight
        gradient.T @ x
        found.append(time.perf_counter() - start)
    return min(found)
