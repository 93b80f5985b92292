"""What the process is told about the machine: in full precision, and in a process of its own."""

import subprocess
import sys

PRECISE = """
import torch
from vae_lab.training import hardware as machine
machine.tune()
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
from vae_lab.training import hardware as machine
before = torch.backends.mkldnn.matmul.fp32_precision
torch.equal = lambda *_: False  # as where the processor rounds to bfloat16
machine.multiply_by_onednn()
assert torch.backends.mkldnn.matmul.fp32_precision == before
"""


def run(program: str) -> None:
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_products_keep_the_precision_of_float32():
    run(PRECISE)


def test_a_processor_that_would_round_keeps_its_library():
    run(REFUSED)
