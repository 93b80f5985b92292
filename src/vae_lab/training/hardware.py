"""What this process is told once about the machine, so that a run does not pay for it at every step."""

import ctypes
import os
import platform

import torch

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h


def tune() -> None:
    """Quick products, freed memory kept, and one look for a GPU. To be called after Lightning is imported."""
    multiply_by_onednn()
    keep_freed_memory()
    # Lightning sets this to 1; each step of a fused optimiser then asks the driver anew whether there is a GPU
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def multiply_by_onednn() -> None:
    """Let oneDNN multiply float32 matrices where it does so in full precision.

    torch gives them to MKL, which takes twice as long on processors that are not Intel's. The only switch to oneDNN
    is the permission to round to bfloat16; just processors with matrix units make use of it, and these keep MKL.
    """
    # beside a GPU Lightning asks for the precision in an older way, which torch refuses once this one was used
    if torch.cuda.is_available() or not torch.backends.mkldnn.is_available():
        return
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # made at run time
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    fine = torch.full((64, 64), 1 + 2.0**-12)  # 1 in bfloat16
    if not torch.equal(fine @ torch.eye(64), fine):
        matmul.fp32_precision = before


def keep_freed_memory() -> None:
    """Let the heap keep the activations that a step frees, for the next step.

    By default glibc gives them back to the kernel, and the page faults of the next step take a third of the time of a
    convolutional net. Other C libraries are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        for name, value in ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, 1 << 30), (_M_TOP_PAD, 64 << 20)):
            libc.mallopt(name, value)
