"""What this process is told once about the machine, so that a run does not pay for it at every step."""

import ctypes
import os
import platform

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


def tune() -> None:
    """Keep freed memory, and ask for a GPU once instead of at every step. To be called after Lightning is imported."""
    _keep_freed_memory()
    # Lightning sets this to 1; each step of a fused optimiser then asks the driver anew whether there is a GPU
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def _keep_freed_memory() -> None:
    """Let the heap keep the activations that a step frees, for the next step.

    By default glibc gives them back to the kernel, and the page faults of the next step take a third of the time of a
    convolutional net. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for name, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20)):
            libc.mallopt(name, value)
