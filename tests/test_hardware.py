"""What is set up about the machine: products in full precision, in a process of its own."""

import subprocess
import sys

PRECISE = """
import torch
from vae_lab.training import hardware
hardware.set_up()
hardware.multiply_by("onednn")
torch.manual_seed(0)
for rows, before, after in ((100, 784, 300), (256, 128, 784), (2000, 300, 300)):
    x, w, g = torch.randn(rows, before), torch.randn(after, before), torch.randn(rows, after)
    for a, b in ((x, w.T), (g.T, x), (g, w)):
        exact = a.double() @ b.double()
        error = (a @ b - exact).norm() / exact.norm()
        assert error < 1e-6, (a.shape, b.shape, error.item())  # bfloat16 would leave 3e-3
"""

REFUSED = """
import torch
from vae_lab.training import hardware
before = torch.backends.mkldnn.matmul.fp32_precision
torch.equal = lambda *_: False  # as where the processor rounds to bfloat16
assert hardware.multiply_by("onednn") == "torch"
assert torch.backends.mkldnn.matmul.fp32_precision == before
"""

QUICKER = """
import torch
from torch import nn
from vae_lab.training import hardware
asked, now = [], ["torch"]
hardware.multiply_by = lambda library: now.append(library) or library
hardware._seconds = lambda x, weight, gradient: asked.append((x.shape, weight.shape)) or seconds[now[-1]]
net = nn.Sequential(nn.Linear(5, 40), nn.Linear(40, 30))
for times, expected in (((2.0, 1.0), "onednn"), ((1.0, 1.0), "torch"), ((1.1, 1.0), "torch"), ((1.0, 2.0), "torch")):
    seconds = dict(zip(("torch", "onednn"), times))
    assert hardware.quicker_library(net, 7) == expected, times
assert set(asked) == {((7, 40), (30, 40))}  # the largest layer, with the run's batch
assert hardware.quicker_library(nn.Conv2d(1, 2, 3), 7) == "torch"
"""


def failure_of(program: str) -> str:
    """What a program of its own process prints about its failure; nothing where it has none."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    return f"exit code {result.returncode}: {result.stderr}" if result.returncode else ""


def test_products_keep_the_precision_of_float32():
    assert failure_of(PRECISE) == ""


def test_the_quicker_library_is_chosen_where_the_gain_is_clear():
    assert failure_of(QUICKER) == ""


def test_a_processor_that_would_round_keeps_its_library():
    assert failure_of(REFUSED) == ""
