"""The GAN: its images, what it lacks, the two stages of its training, and that a run that goes on is the same run."""

import pytest
import torch
from lightning import Callback

from helpers import SHAPE, small_vae, trainer
from vae_lab.data import MNISTDataModule
from vae_lab.decoders import ConvDecoder, MLPDecoder
from vae_lab.discriminators import MLPDiscriminator
from vae_lab.errors import ConfigError, NotOffered
from vae_lab.likelihoods import Bernoulli, Gaussian
from vae_lab.losses import KL, Adversarial
from vae_lab.models import GAN
from vae_lab.priors import Flow, Mixture, PlanarFlow, StandardNormal
from vae_lab.training.measurements import SampleQuality
from vae_lab.training.module import Training


def small_gan(prior=None, likelihood=None, **options) -> GAN:
    decoder = MLPDecoder(2, [16], likelihood or Bernoulli(), SHAPE, **options)
    return GAN(decoder, prior or StandardNormal(2), MLPDiscriminator([16], SHAPE))


def small_adversarial(ema=0.0, **options) -> Training:
    optimizer = lambda weights: torch.optim.Adam(weights, lr=2e-3, betas=(0.5, 0.999))  # noqa: E731
    return Training(small_gan(), Adversarial(**options), optimizer, ema=ema)


@pytest.fixture
def grey_data(small_files, tmp_path) -> MNISTDataModule:  # noqa: ARG001
    # a folder of its own: the classifier is kept there
    return MNISTDataModule(root=str(tmp_path), batch_size=100, eval_batch_size=30, validation=30, binarization="none")


# --- the model ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian()])
def test_images_are_means_between_0_and_1_with_a_gradient(likelihood):
    model = small_gan(likelihood=likelihood)
    images = model.generate(5)
    assert images.shape == (5, *SHAPE)
    assert ((images > 0) & (images < 1)).all()
    images.sum().backward()
    assert all(weight.grad is not None for weight in model.generator_weights())
    assert all(weight.grad is None for weight in model.discriminator.parameters())
    assert not model.sample(3).requires_grad


def test_it_offers_codes_of_the_prior_and_nothing_of_an_encoder():
    model, x = small_gan(), torch.rand(2, *SHAPE)
    assert model.walk(*model.draw_codes(2)[:, None], steps=4).shape == (4, 1, *SHAPE)
    for what in (model.encode, model.reconstruct, model.log_prob):
        with pytest.raises(NotOffered, match="GAN does not have an encoder"):
            what(x)
    assert model.criterion == "frechet_distance"


def test_the_untrained_generator_starts_at_the_mean_image_of_the_data():
    model, mean = small_gan(), torch.rand(SHAPE).clamp(0.1, 0.9)
    model.start_at(mean)
    assert (model.sample(1000).mean(0) - mean).abs().mean() < 0.05


@pytest.mark.parametrize("sd", [None, 0.02])
def test_the_weights_of_the_generator_start_with_the_standard_deviation_asked_for(sd):
    decoder = ConvDecoder(16, [32, 64], Bernoulli(), SHAPE)
    GAN(decoder, StandardNormal(16), MLPDiscriminator([4], SHAPE), sd)
    # of z; of 64 and 32 channels, of whose 16 window places 4 hit a pixel at stride 2
    inputs = [16, 64 * 4, 32 * 4]
    weights = [layer.weight for layer in decoder.net if hasattr(layer, "weight")]
    for weight, n in zip(weights, inputs, strict=True):
        assert weight.std().item() == pytest.approx((2 / n) ** 0.5 if sd is None else sd, rel=0.1)


@pytest.mark.parametrize("prior", [PlanarFlow(2, 2), Flow(2, "autoregressive", 1, [8])])
def test_a_prior_whose_draws_have_a_gradient_learns_with_the_generator(prior):
    model = small_gan(prior)
    assert {id(weight) for weight in prior.parameters()} <= {id(weight) for weight in model.generator_weights()}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"prior": Mixture(2)}, "prior=Mixture: has parameters that change no image"),
        ({"likelihood": Gaussian(learned=True)}, "decoder=MLPDecoder: has parameters that change no image"),
        ({"likelihood": Gaussian(squash=False)}, "likelihood=Gaussian: a GAN compares images in"),
        ({"masked_kernel": 3}, "decoder=MLPDecoder: its images have no mean"),
    ],
)
def test_parts_that_could_learn_nothing_are_refused(options, line):
    with pytest.raises(ConfigError, match=line):
        small_gan(**options)


def test_a_discriminator_of_other_images_is_refused():
    with pytest.raises(ValueError, match=r"its images are \(1, 28, 28\), the discriminator's \(1, 8, 8\)"):
        GAN(ConvDecoder(2, [4], Bernoulli(), SHAPE), StandardNormal(2), MLPDiscriminator([4], (1, 8, 8)))


def test_losses_refuse_models_of_the_other_kind():
    with pytest.raises(NotOffered, match="VAE has no discriminator"):
        Training(small_vae(), Adversarial())
    with pytest.raises(NotOffered, match="GAN does not have an encoder"):
        Training(small_gan(), KL())


# --- training -----------------------------------------------------------------------------------------------------


def test_each_stage_changes_its_own_parameters_only():
    training, x = small_adversarial(), torch.rand(8, *SHAPE)
    model = training.model
    of_stage = {stage.name: {id(weight) for weight in stage.parameters} for stage in training.loss.stages(model)}
    assert not of_stage["discriminator"] & of_stage["generator"]
    assert set.union(*of_stage.values()) == {id(weight) for weight in model.parameters()}
    for stage in training.loss.stages(model):
        before = {name: weight.clone() for name, weight in model.named_parameters()}
        states = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer = training.make_optimizer(stage.parameters)
        for weight in model.parameters():
            weight.grad = None
        training.loss(model, x, stage=stage.name).loss.backward()
        optimizer.step()
        for name, weight in model.named_parameters():
            is_own = id(weight) in of_stage[stage.name]
            assert is_own != torch.equal(weight, before[name]), name
            assert is_own or weight.grad is None
        if stage.name == "generator":  # the estimates of singular values neither
            found = {name for name, value in model.state_dict().items() if not torch.equal(value, states[name])}
            assert all(name.startswith("decoder") for name in found)
    assert all(weight.requires_grad for weight in model.parameters())
    assert all(part.training for part in model.modules())


def test_the_discriminator_takes_as_many_steps_as_asked_at_its_own_rate(tmp_path, grey_data):
    training = small_adversarial(discriminator_steps=3, discriminator_lr=0.5)
    trainer(tmp_path, max_epochs=1, callbacks=[SampleQuality(30)]).fit(training, grey_data)
    of_discriminator, of_generator = training.trainer.optimizers
    steps = [next(iter(optimizer.state.values()))["step"].item() for optimizer in (of_discriminator, of_generator)]
    assert steps == [15, 5]
    assert training.trainer.global_step == 5
    assert (of_discriminator.param_groups[0]["lr"], of_generator.param_groups[0]["lr"]) == (1e-3, 2e-3)
    assert training.model.history[0]["lr"] == 2e-3


class CutOff(Callback):
    """Ends a fit with an error after some steps."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.at:
            trainer.save_checkpoint(f"{trainer.default_root_dir}/cut_off.ckpt")
            raise KeyError("cut off")


@pytest.mark.parametrize("at", [3, 7])  # in the first epoch of 5 steps, and in the second
def test_a_fit_that_goes_on_ends_as_one_that_was_not_cut_off(tmp_path, grey_data, at):
    ends = []
    for cut_off in (-1, at):
        torch.manual_seed(0)
        training = small_adversarial(ema=0.9, discriminator_steps=2)
        fit = trainer(tmp_path, callbacks=[CutOff(cut_off), SampleQuality(30)])
        if cut_off < 0:
            fit.fit(training, grey_data)
        else:
            with pytest.raises(KeyError):
                fit.fit(training, grey_data)
            torch.manual_seed(1)
            training = small_adversarial(ema=0.9, discriminator_steps=2)
            fit = trainer(tmp_path, callbacks=[CutOff(-1), SampleQuality(30)])
            fit.fit(training, grey_data, ckpt_path=tmp_path / "cut_off.ckpt", weights_only=True)
        raw = training.average.others
        states = [optimizer.state_dict()["state"] for optimizer in fit.optimizers]
        ends.append((training.state_dict(), raw, states, training.model.history))
    assert len(ends[0][2]) == 2
    torch.testing.assert_close(*ends, rtol=0, atol=0)


def test_the_average_is_of_the_generator_alone(tmp_path, grey_data):
    training = small_adversarial(ema=0.9)
    trainer(tmp_path, max_epochs=1, callbacks=[SampleQuality(30)]).fit(training, grey_data)
    assert {name.partition(".")[0] for name in training.average.names} == {"decoder"}


@pytest.mark.parametrize("kind", ["non_saturating", "hinge", "wasserstein"])
def test_samples_come_nearer_to_the_images(tmp_path, grey_data, kind):
    training = small_adversarial(kind=kind)
    trainer(tmp_path, max_epochs=12, callbacks=[SampleQuality(30, every_n_epochs=11)]).fit(training, grey_data)
    history = training.model.history
    measured = {row["epoch"]: row["val/frechet_distance"] for row in history if "val/frechet_distance" in row}
    assert sorted(measured) == [0, 11]
    assert measured[11] < measured[0]
    assert {"train/d_loss", "train/g_loss", "train/d_real", "train/d_fake", "val/d_real", "val/d_fake"} <= set(
        history[5]
    )
    assert ("train/gradient_penalty" in history[0]) == (kind == "wasserstein")
