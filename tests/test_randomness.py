"""Noise of a fixed seed: the same each time, and nothing of the caller's."""

import pytest
import torch

from vae_lab.randomness import fixed_noise

CPU = torch.device("cpu")


def test_a_generator_that_is_not_kept_is_not_seeded(monkeypatch):
    # torch.manual_seed reaches every GPU: training there drew the same noise whatever the seed of the run
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda _: pytest.fail("every GPU was seeded"))
    with fixed_noise(3, CPU):
        first = torch.randn(4)
    torch.testing.assert_close(first, torch.randn(4, generator=torch.Generator().manual_seed(3)), rtol=0, atol=0)


def test_the_caller_goes_on_where_it_was_even_after_an_error():
    torch.manual_seed(1)
    expected = [torch.randn(2), torch.randn(2)][1]
    torch.manual_seed(1)
    torch.randn(2)
    with pytest.raises(ZeroDivisionError), fixed_noise(3, CPU):
        torch.randn(5 // 0)
    assert torch.equal(torch.randn(2), expected)
