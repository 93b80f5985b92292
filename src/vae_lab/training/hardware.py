"""What this process sets up once, so that a run does not pay for it at every step."""

import ctypes
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from vae_lab.errors import reason_of

Matmul = Literal["torch", "onednn"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h

GAIN = 1.15  # oneDNN is chosen if it is quicker by this factor; smaller differences change between measurements
SECONDS = 0.1  # for which each number of threads is tried
SLOWER = 1.3  # fewer threads that are slower by this factor end the search
LIKE = 1.05  # threads that are slower by less than this factor are as good
ROUNDS = 5  # measurements of each library, in turn; the quickest counts
ROWS = 512  # most rows of the measured product: more take longer and show the same ratio


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


def set_threads(count: int | Literal["auto"]) -> None:
    """Compute on a number of threads of the CPU.

    Args:
        count: number of threads; ``auto`` leaves torch's choice, which is a thread for each core, or OMP_NUM_THREADS.
    """
    if count != "auto":
        torch.set_num_threads(count)
        os.environ["OMP_NUM_THREADS"] = str(count)  # Lightning would divide the cores among several processes


def quickest_threads(step: Callable[[], object]) -> int:
    """The number of threads with which steps are quickest now, beside all that the machine does for others.

    All threads are tried, then half as many, and so on until fewer are clearly slower.

    Args:
        step: function that makes a step like those of training.
    """
    most = count = torch.get_num_threads()
    seconds: dict[int, float] = {}
    step()  # the first one takes longer
    while count:
        torch.set_num_threads(count)
        steps, start = 0, time.perf_counter()
        while not steps or time.perf_counter() - start < SECONDS:
            step()
            steps += 1
        seconds[count] = (time.perf_counter() - start) / steps
        count = count // 2 if seconds[count] < SLOWER * min(seconds.values()) else 0
    torch.set_num_threads(most)
    # as few as are about as quick: the others are free for other programs
    return min(count for count in seconds if seconds[count] < LIKE * min(seconds.values()))


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give the next run of this process the threads that there were before the block."""
    count, told = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    try:
        yield
    finally:
        torch.set_num_threads(count)
        os.environ.pop("OMP_NUM_THREADS", None)
        if told is not None:
            os.environ["OMP_NUM_THREADS"] = told


def why_not_compiled(device: torch.device) -> str | None:
    """Why a device's programs cannot be compiled here, found by compiling one; None where they can.

    Args:
        device: device that would run them.
    """
    try:
        torch.compile(torch.nn.functional.softplus)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a compiler that is missing or broken leads to
        return reason_of(getattr(error, "inner_exception", error))
    return None


def multiply_by(library: Matmul) -> Matmul:
    """Choose the library that multiplies float32 matrices on the CPU; returns the one that is used.

    torch uses MKL, which takes twice as long as oneDNN on some processors that are not Intel's. The only switch to
    oneDNN is the permission to round to bfloat16. Processors with matrix units use that permission, and keep torch's
    own choice.

    Args:
        library: ``onednn``, or ``torch`` for torch's own choice.
    """
    # with a GPU Lightning reads the precision through an older interface, which torch refuses after this one was used
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
    # the parameters, since the look at a spectrally normalised weight changes its layer
    weights = (weight for layer in layers for weight in layer.parameters() if weight.dim() == 2)
    weight = max(weights, key=Tensor.numel).detach().float().cpu()
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
    """Seconds of the three products of one layer in one step, the quickest of a few."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        x @ weight.T
        gradient @ weight
        gradient.T @ x
        found.append(time.perf_counter() - start)
    return min(found)
