"""What only a GPU can show; skipped without one. ``benchmarks/gpu.py`` runs these and measures the rest."""

import math

import pytest
import torch

from helpers import TINY, call, small_training, trainer
from kinds import KINDS, built
from vae_lab.randomness import fixed_noise
from vae_lab.training.module import Training
from vae_lab.training.schedulers import warmup_cosine

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]

CLOSE = 1e-2  # relative, of a mean figure of training with the same noise: sums are added in another order, and Adam
# lets such differences grow from step to step
ALIKE = 0.1  # relative, with other noise, or in half precision
ON_GPU = [word for word in TINY if "accelerator" not in word] + ["trainer.accelerator=gpu"]


@pytest.fixture(autouse=True)
def _free_again():
    yield
    torch.use_deterministic_algorithms(False)  # a Trainer with deterministic=True leaves it on


def fused_adam(weights):
    return torch.optim.Adam(weights, fused=True)


def curve(folder, data, accelerator: str, graphs=False, **options) -> list[float]:
    """Training NELBO of each of some epochs."""
    torch.manual_seed(3)
    clip = options.pop("clip", None)
    training = small_training(optimizer=fused_adam, scheduler=warmup_cosine, graphs=graphs, gradient_clip_val=clip)
    if "16-mixed" in str(options.get("precision")) and clip:
        training.make_optimizer = torch.optim.Adam  # a fused one leaves no gradient to clip
    trainer(folder, accelerator=accelerator, max_epochs=8, **options).fit(training, data)
    return [row["train/nelbo"] for row in training.model.history]


def test_captured_and_plain_steps_have_the_same_curve(tmp_path, small_data):
    plain, captured = (curve(tmp_path, small_data, "gpu", graphs) for graphs in (False, True))
    assert captured == pytest.approx(plain, rel=CLOSE)


def test_the_curve_is_that_of_a_cpu_up_to_the_noise(tmp_path, small_data, monkeypatch):
    # the noise of a GPU is another one: without it the two curves are the same
    monkeypatch.setattr("vae_lab.data.base.draw", lambda pixels: pixels.float().div_(255).round())
    monkeypatch.setattr(torch, "randn", torch.zeros)
    on_cpu = curve(tmp_path, small_data, "cpu")
    del small_data.test  # so that the data move
    assert curve(tmp_path, small_data, "gpu") == pytest.approx(on_cpu, rel=CLOSE)


@pytest.mark.parametrize(
    "options",
    [{"precision": "bf16-mixed"}, {"precision": "16-mixed", "clip": 5.0}, {"precision": "bf16-mixed", "graphs": True}],
)
def test_half_precision_learns_alike(tmp_path, small_data, options):
    full = curve(tmp_path, small_data, "gpu")
    half = curve(tmp_path, small_data, "gpu", **options)
    assert half == pytest.approx(full, rel=ALIKE)
    assert half[-1] < half[0]


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_trains_with_captured_steps_where_they_can_be(tmp_path, name):
    training, data = built(KINDS[name])
    training.steps_at_once = 4
    fit = trainer(tmp_path, accelerator="gpu", max_epochs=4, limit_val_batches=0)
    fit.fit(training, data)
    assert fit.global_step == 24
    assert all(math.isfinite(value) for row in training.model.history for value in row.values())


@pytest.mark.parametrize("graphs", [True, False])
def test_a_run_that_is_cut_off_and_goes_on_ends_the_same_bit_for_bit(tmp_path, small_data, graphs):
    file = tmp_path / "cut_off.ckpt"

    class CutOff(Training):
        def _after_steps(self):
            super()._after_steps()
            if self.trainer.global_step == 7:
                self.trainer.save_checkpoint(file)
                raise KeyError("cut off")

    def ends(kind, checkpoint=None):
        torch.manual_seed(3)
        plain = small_training()
        training = kind(plain.model, plain.loss, fused_adam, warmup_cosine, ema=0.9, graphs=graphs)
        training.steps_at_once = 2
        fit = trainer(tmp_path, accelerator="gpu", max_epochs=3, deterministic=True)
        fit.fit(training, small_data, ckpt_path=checkpoint, weights_only=True)
        return training.state_dict()

    whole = ends(Training)
    with pytest.raises(KeyError, match="cut off"):
        ends(CutOff)
    torch.testing.assert_close(ends(Training, file), whole, rtol=0, atol=0)


def test_noise_of_a_fixed_seed_leaves_the_generators_as_they_were():
    torch.manual_seed(1)
    expected = torch.randn(3, device="cuda")
    for device in ("cpu", "cuda"):
        torch.manual_seed(1)
        with fixed_noise(5, torch.device(device)):
            torch.randn(7, device=device)
        assert torch.equal(torch.randn(3, device="cuda"), expected)


@pytest.mark.usefixtures("small_files")
def test_figures_and_evaluation_are_made_on_the_gpu(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = [word for word in ON_GPU if "callbacks." not in word]
    assert call(*words, "hydra.run.dir=run").code == 0
    assert (tmp_path / "run" / "figures" / "samples.png").exists()
    answer = call("task=evaluate", "run_dir=run", "trainer.accelerator=gpu", "evaluation.k=3", "evaluation.samples=20")
    assert answer.code == 0, answer.err
