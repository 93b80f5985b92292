"""The continuous flow: its trace, its map and its density against autograd, zuko and finer steps."""

import pytest
import torch
from torch.distributions import Independent, Normal
from zuko.transforms import FreeFormJacobianTransform

from helpers import small_vae
from vae_lab.losses import SGVB
from vae_lab.priors import ContinuousFlow

# options of a solver, and the error that it is allowed in the plane
SOLVERS = {"rk4": ({"steps": 24}, 1e-5), "adaptive": ({"tolerance": 1e-7}, 1e-5)}


def flow(solver: str = "rk4", latent_dim: int = 2, hidden_dims=(8, 7), **options) -> ContinuousFlow:
    torch.manual_seed(0)
    made = ContinuousFlow(latent_dim, list(hidden_dims), solver, **options).double()
    for parameter in made.parameters():
        parameter.data += 0.4 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("hidden_dims", [[8], [8, 7]])
def test_the_trace_is_that_of_the_jacobian(hidden_dims):
    velocity = flow(latent_dim=3, hidden_dims=hidden_dims).velocity
    z = torch.randn(5, 3, dtype=torch.float64)
    jacobian = torch.stack([torch.autograd.functional.jacobian(lambda z: velocity(0.3, z)[:-1], one) for one in z])
    torch.testing.assert_close(velocity(0.3, z)[:, -1], torch.einsum("bii->b", jacobian), rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_integrated_trace_is_slogdet_of_the_maps_jacobian(solver):
    options, error = SOLVERS[solver]
    transform = flow(solver, 3, **options)().transform  # from z to the noise
    z = torch.randn(2, 3, dtype=torch.float64)
    noise, log_det = transform.call_and_ladj(z)
    jacobian = torch.stack([torch.autograd.functional.jacobian(transform, one) for one in z])
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian).logabsdet, rtol=0, atol=error)
    torch.testing.assert_close(log_det, transform.log_abs_det_jacobian(z, noise))


@pytest.mark.parametrize("solver", SOLVERS)
def test_it_is_the_flow_of_zuko(solver):
    options, error = SOLVERS[solver]
    prior = flow(solver, 3, **options)
    z = torch.randn(6, 3, dtype=torch.float64)
    zuko = FreeFormJacobianTransform(lambda t, z: prior.velocity(t, z)[..., :-1], 1.0, 0.0, atol=1e-9, rtol=1e-9)
    noise, log_det = zuko.call_and_ladj(z)
    expected = Independent(Normal(torch.zeros(3, dtype=torch.float64), 1.0), 1).log_prob(noise) + log_det
    torch.testing.assert_close(prior().log_prob(z), expected, rtol=0, atol=error)


@pytest.mark.parametrize("solver", SOLVERS)
def test_backward_of_forward_is_the_identity(solver):
    options, error = SOLVERS[solver]
    to_noise = flow(solver, 3, **options)().transform
    z = 2 * torch.randn(50, 3, dtype=torch.float64)
    torch.testing.assert_close(to_noise.inv(to_noise(z)), z, rtol=0, atol=error)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_density_integrates_to_one(solver):
    line = torch.linspace(-8, 8, 81, dtype=torch.float64)
    plane = torch.stack(torch.meshgrid(line, line, indexing="ij"), -1)
    with torch.no_grad():
        density = flow(solver)().log_prob(plane).exp()
    assert torch.trapezoid(torch.trapezoid(density, line), line).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_draw_carries_its_density(solver):
    p = flow(solver, **SOLVERS[solver][0])()
    z, log_p = p.rsample_and_log_prob((50,))
    torch.testing.assert_close(log_p, p.log_prob(z), rtol=0, atol=SOLVERS[solver][1])


def test_the_error_of_rk4_falls_with_the_fourth_power_of_its_steps():
    z = torch.randn(50, 2, dtype=torch.float64)
    exact = flow("adaptive", tolerance=1e-10)().log_prob(z)
    errors = [(flow(steps=steps)().log_prob(z) - exact).abs().max().item() for steps in (4, 8)]
    assert 8 < errors[0] / errors[1] < 32
    assert (flow()().log_prob(z) - exact).abs().max() < 0.01  # the default


def test_both_solvers_give_the_same_gradients():
    z, found = torch.randn(20, 3, dtype=torch.float64), {}
    for solver, (options, _) in SOLVERS.items():
        prior, codes = flow(solver, 3, **options), z.clone().requires_grad_()
        prior().log_prob(codes).sum().backward()
        found[solver] = [codes.grad, *(parameter.grad for parameter in prior.parameters())]
    for one, other in zip(*found.values(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_it_starts_near_the_standard_normal():
    z = torch.randn(100, 10)
    with torch.no_grad():
        difference = ContinuousFlow(10)().log_prob(z) - Independent(Normal(torch.zeros(10), 1.0), 1).log_prob(z)
    assert difference.abs().max() < 0.5
    assert difference.mean().abs() < 0.1


@pytest.mark.parametrize("where", ["a code", "a weight"])
def test_the_adaptive_solver_ends_at_what_is_not_finite(where):
    prior, z = ContinuousFlow(2, [8], "adaptive"), torch.randn(5, 2)
    (z if where == "a code" else prior.velocity.last.weight.data)[0, 0] = torch.nan
    assert prior().log_prob(z).isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_precision_and_mode_has_a_loss_with_gradients(solver, dtype):
    model = small_vae(prior=ContinuousFlow(2, [8], solver)).to(dtype)
    x = torch.rand(4, 1, 28, 28).round().to(dtype)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        SGVB()(model, x).loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in model.prior.parameters())
    with torch.inference_mode():
        assert model.log_prob(x, k=3).isfinite().all()
        assert model.sample(3).isfinite().all()


def test_a_setting_of_the_other_solver_is_refused():
    with pytest.raises(ValueError, match="solver=adaptive chooses its steps"):
        ContinuousFlow(2, solver="adaptive", steps=3)
    with pytest.raises(ValueError, match="leave tolerance out"):
        ContinuousFlow(2, tolerance=1e-3)
    with pytest.raises(ValueError, match="there are 3"):
        ContinuousFlow(2, [4, 4, 4])
