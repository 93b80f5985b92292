"""Autoregressive transforms of codes: masks, the way back, and a context that counts."""

import pytest
import torch

from vae_lab.distributions.conditional_flows import ConditionalTransform, GatedTransform


def step(latent: int, order: torch.Tensor) -> ConditionalTransform:
    made = ConditionalTransform(
        latent, 3, order=order, univariate=GatedTransform, shapes=[(), ()], hidden_features=[64, 32]
    )
    return made.double()


@pytest.mark.parametrize("flipped", [False, True])
def test_a_dimension_depends_on_those_before_it_and_on_the_context(flipped):
    order = torch.arange(5).flip(0) if flipped else torch.arange(5)
    made = step(5, order)
    x, context = torch.randn(5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    of_codes = torch.autograd.functional.jacobian(lambda x: made(context)(x), x)
    allowed = order[:, None] >= order
    assert (of_codes[~allowed] == 0).all()
    assert (of_codes[order[:, None] > order] != 0).any()
    of_context = torch.autograd.functional.jacobian(lambda c: made(c)(x), context)
    assert (of_context != 0).any(1).all()


def test_the_way_back_is_exact_where_gates_are_all_but_shut():
    made = step(6, torch.arange(6))
    made.hyper[-1].bias.data[1::2] -= 60  # the logits of the gates
    transform = made(torch.randn(4, 3, dtype=torch.float64))
    x = torch.randn(4, 6, dtype=torch.float64)
    torch.testing.assert_close(transform.inv(transform(x)), x, rtol=0, atol=1e-6)
    assert transform.inv(100 * x).isfinite().all()


def test_a_gate_is_the_formula():
    m, s, x = torch.randn(3, 7, dtype=torch.float64).unbind()
    sigma = 1e-3 + 0.999 / (1 + (-s - 2).exp())
    found = GatedTransform(m, s)
    torch.testing.assert_close(found(x), sigma * x + (1 - sigma) * m)
    torch.testing.assert_close(found.log_abs_det_jacobian(x, found(x)), sigma.log())
    torch.testing.assert_close(found.inv(found(x)), x)
