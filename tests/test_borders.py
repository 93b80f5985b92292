"""Images at the border: every way in takes what is an image of the model, and names what is none."""

import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from helpers import SHAPE, digits, small_training, small_vae, trainer
from vae_lab.data import MNISTDataModule
from vae_lab.decoders import MLPDecoder
from vae_lab.encoders import ConvEncoder, MLPEncoder
from vae_lab.errors import ImageError, NonFiniteError, UserError
from vae_lab.likelihoods import Bernoulli, Gaussian, Likelihood
from vae_lab.losses import KL
from vae_lab.models import VAE
from vae_lab.priors import StandardNormal
from vae_lab.training.module import Training

BYTES = digits(60)[0]
IMAGES = BYTES.float() / 255
BITS = (IMAGES > 0.5).float()
WAYS_IN = {
    "log_prob": lambda model, x: model.log_prob(x, k=2),
    "bounds": lambda model, x: model.bounds(x, k=2),
    "encode": lambda model, x: model.encode(x),
    "reconstruct": lambda model, x: model.reconstruct(x),
    "interpolate": lambda model, x: model.interpolate(x, x, steps=3),
}
TAKEN = {
    "bytes": (BYTES, IMAGES),
    "double precision": (IMAGES.double(), IMAGES),
    "half precision": (BITS.half(), BITS),
    "bool": (BITS.bool(), BITS),
    "integer bits": (BITS.long(), BITS),
    "a rounding error": (IMAGES * (1 + 1e-6) - 1e-7, IMAGES),
}
BROKEN = {
    "normalised": ((IMAGES - 0.1307) / 0.3081, "pixels lie between -0.4242 and 2.121, .* takes 0 to 1; undo the norm"),
    "from -1 to 1": (2 * IMAGES - 1, "pixels lie between -1 and 0.5686, .* takes 0 to 1"),
    "not divided": (IMAGES * 255, "pixels lie between 0 and 200, .* takes 0 to 1; divide by 255"),
    "integers": (BYTES.long(), "pixels lie between 0 and 200, .* divide by 255"),
    "bits in bytes": (BITS.byte(), "uint8 pixels are grey levels from 0 to 255"),
    "without a channel": (IMAGES[:, 0], r"shape is \(\d+, 28, 28\), expected .*1, 28, 28\); x.unsqueeze\(-3\)"),
    "flat": (IMAGES.flatten(1), r"shape is \(\d+, 784\), .*x.unflatten\(-1, \(1, 28, 28\)\)"),
    "colours": (IMAGES.expand(-1, 3, -1, -1), r"shape is \(\d+, 3, 28, 28\)"),
    "channels last": (IMAGES.movedim(1, -1), r"shape is \(\d+, 28, 28, 1\), .*x.movedim\(-1, -3\)"),
    "a column": (IMAGES.reshape(-1, 784, 1, 1), r"shape is \(\d+, 784, 1, 1\)"),
    "complex": (IMAGES + 0j, "real numbers"),
}


def spoilt(value: float, at: int = 0) -> torch.Tensor:
    images = IMAGES.clone()
    images[at, 0, 3, 3] = value
    return images


# --- Python calls ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("form", TAKEN)
def test_images_of_every_usual_form_are_the_same_images(way, form):
    model = small_vae()
    given, meant = TAKEN[form]
    results = []
    for images in (given, meant):
        torch.manual_seed(1)
        results.append(WAYS_IN[way](model, images))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("form", BROKEN)
def test_what_is_no_image_of_the_model_is_named(way, form):
    images, said = BROKEN[form]
    with pytest.raises(ImageError, match=said) as raised:
        WAYS_IN[way](small_vae(), images)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("way", WAYS_IN)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_pixels_that_are_not_finite_are_counted(way, value):
    with pytest.raises(ImageError, match="1 of 47,040 pixels are NaN or infinite"):
        WAYS_IN[way](small_vae(), spoilt(value))


@pytest.mark.parametrize("way", WAYS_IN)
def test_what_is_no_tensor_and_no_array_is_named(way):
    with pytest.raises(ImageError, match=r"a list; use torch.as_tensor\(x\)"):
        WAYS_IN[way](small_vae(), [[0.0]])


ARRAYS = {
    "an array": (IMAGES.numpy(), IMAGES),
    "bytes of an array": (BYTES.numpy(), IMAGES),
    "double precision": (IMAGES.double().numpy(), IMAGES),
    "upside down": (IMAGES.numpy()[:, :, ::-1], IMAGES.flip(2)),
    "of another byte order": (IMAGES.numpy().astype(">f4"), IMAGES),
    "bool": (BITS.bool().numpy(), BITS),
}


@pytest.mark.parametrize("form", ARRAYS)
def test_arrays_are_the_same_images_as_tensors(form):
    model = small_vae()
    given, meant = ARRAYS[form]
    torch.testing.assert_close(model.encode(given), model.encode(meant), rtol=1e-4, atol=1e-4)


def test_an_array_is_never_written_to_and_may_be_read_only():
    model, images = small_vae(), BYTES.numpy().copy()
    images.setflags(write=False)
    model.reconstruct(images)
    assert (images == BYTES.numpy()).all()


def test_an_array_of_grey_levels_that_are_not_divided_is_refused_with_its_range():
    with pytest.raises(ImageError, match=r"pixels lie between 0 and 200, .* takes 0 to 1; divide by 255"):
        small_vae().reconstruct(BYTES.numpy().astype("float32"))


def test_an_array_without_numbers_is_named():
    with pytest.raises(ImageError, match="real numbers, and these are of numpy's type object"):
        small_vae().encode(BYTES.numpy().astype(object))


def test_codes_may_be_arrays():
    model, codes = small_vae(), torch.randn(3, 2)
    torch.testing.assert_close(model.decode(codes.numpy()), model.decode(codes))
    walks = model.walk(codes.numpy(), codes.flip(0).double().numpy(), 3)
    torch.testing.assert_close(walks, model.walk(codes, codes.flip(0), 3))


def test_the_remedies_for_other_layouts_lead_to_images():
    for x, remedy in (
        (IMAGES[0], lambda x: x[None]),
        (IMAGES[:, 0], lambda x: x.unsqueeze(-3)),
        (IMAGES.movedim(1, -1), lambda x: x.movedim(-1, -3)),
        (IMAGES.flatten(1), lambda x: x.unflatten(-1, (1, 28, 28))),
    ):
        with pytest.raises(ImageError):
            small_vae().log_prob(x)
        assert small_vae().log_prob(remedy(x), k=2).isfinite().all()


def test_a_bound_needs_images():
    with pytest.raises(ImageError, match="no images"):
        small_vae().log_prob(IMAGES[:0])


def test_the_mean_image_enters_as_images_do():
    with pytest.raises(ImageError, match="takes 0 to 1"):
        small_vae().start_at(torch.full(SHAPE, 30.0))
    with pytest.raises(ImageError, match="channels first"):
        small_vae().start_at(torch.zeros(28, 28, 1))


@pytest.mark.parametrize(
    ("likelihood", "takes"),
    [
        (Bernoulli(), False),
        (Gaussian(), False),
        (Gaussian(learned="per_pixel"), False),
        (Gaussian(squash=False), True),
        (Gaussian(squash=False, learned="per_pixel"), True),
    ],
)
def test_a_likelihood_says_which_values_it_takes(likelihood, takes):
    model = VAE(MLPEncoder(2, [8], SHAPE), MLPDecoder(2, [8], likelihood, SHAPE), StandardNormal(2))
    if takes:
        assert model.log_prob(BROKEN["normalised"][0], k=2).isfinite().all()
        with pytest.raises(ImageError, match="NaN or infinite"):
            model.log_prob(spoilt(math.inf))
    else:
        with pytest.raises(ImageError, match="takes 0 to 1"):
            model.log_prob(BROKEN["normalised"][0])


# --- loaders -----------------------------------------------------------------------------------------------------


def fed(images: torch.Tensor) -> DataLoader:
    return DataLoader(TensorDataset(images, torch.zeros(len(images))), batch_size=20)


def run(stage: str, images: torch.Tensor, folder, training: Training | None = None, **options) -> Training:
    """Give images to one stage of a trainer, and good ones to the others."""
    torch.manual_seed(0)
    training, run_of = training or small_training(), trainer(folder, max_epochs=1, **options)
    if stage == "training":
        run_of.fit(training, fed(images))
    elif stage == "validation":
        run_of.fit(training, fed(IMAGES), fed(images))
    else:
        run_of.test(training, fed(images), verbose=False)
    return training


STAGES = ("training", "validation", "test")


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    "form", ["normalised", "from -1 to 1", "not divided", "bits in bytes", "channels last", "flat"]
)
def test_the_first_batch_of_each_stage_is_looked_at(tmp_path, stage, form):
    images, said = BROKEN[form]
    with pytest.raises(ImageError, match=f"{stage} images: .*{said}"):
        run(stage, images, tmp_path)


@pytest.mark.parametrize("options", [{"num_sanity_val_steps": 1}, {"val_check_interval": 0.5}])
def test_validation_is_looked_at_whenever_it_is(tmp_path, options):
    with pytest.raises(ImageError, match=r"validation images: .*takes 0 to 1"):
        run("validation", BROKEN["normalised"][0], tmp_path, **options)


@pytest.mark.parametrize("form", TAKEN)
def test_a_loader_may_give_every_usual_form(tmp_path, form):
    given, meant = TAKEN[form]
    rows = []
    for images in (given, meant):
        torch.manual_seed(0)
        training = small_training()
        trainer(tmp_path, max_epochs=1).fit(training, fed(images), fed(images))
        rows.append(training.model.history[0])
    assert rows[0] == pytest.approx(rows[1], rel=1e-4)


def test_later_batches_are_compared_in_shape(tmp_path):
    batches = [IMAGES[:20], IMAGES[:20].movedim(1, -1)]
    with pytest.raises(ImageError, match=r"training images: the shape is \(20, 28, 28, 1\)"):
        trainer(tmp_path, max_epochs=1).fit(small_training(), DataLoader(batches, batch_size=None))


@pytest.mark.parametrize("batch", [{"image": IMAGES}, ("a", "b"), IMAGES.numpy()])
def test_a_batch_without_images_is_named(tmp_path, batch):
    loader = DataLoader([batch], batch_size=None, collate_fn=lambda batch: batch)
    with pytest.raises(ImageError, match="training batches: expected images, or images and then labels"):
        trainer(tmp_path, max_epochs=1).fit(small_training(), loader)


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 25, 59])
def test_a_broken_pixel_is_not_blamed_on_the_learning_rate(tmp_path, stage, value, at):
    with pytest.raises(UserError) as raised:
        run(stage, spoilt(value, at), tmp_path)
    line = str(raised.value)
    assert "NaN or infinite" in line
    assert "optimizer.lr" not in line
    if stage == "training" and at:
        assert f"epoch 0, step {at // 20}" in line


def test_a_learning_rate_is_blamed_where_the_images_are_whole(tmp_path):
    training = small_training(optimizer=lambda p: torch.optim.SGD(p, lr=1e30))
    with pytest.raises(NonFiniteError, match=r"Try a lower optimizer\.lr") as raised:
        run("training", IMAGES, tmp_path, training)
    assert "pixel" not in str(raised.value)


def test_the_sums_of_pixels_are_no_figures(tmp_path):
    training = run("validation", IMAGES, tmp_path)
    assert {name.split("/")[-1] for name in training.model.history[0]} == {
        *("epoch", "nelbo", "kl", "reconstruction", "n", "lr"),
    }


# --- shapes of the parts -------------------------------------------------------------------------------------------


class Doubled(Likelihood):
    """Takes two outputs for each pixel, and forgets to divide them."""

    outputs = 2

    def forward(self, output):
        return Bernoulli()(output)


@pytest.mark.parametrize("likelihood", [Bernoulli(), Gaussian(), Gaussian(squash=False), Gaussian(learned="per_pixel")])
@pytest.mark.parametrize("shape", [(28, 28, 1), (784, 1, 1), (1, 1, 1), (28, 28), (1, 784)])
def test_a_likelihood_takes_images_of_its_own_shape_only(likelihood, shape):
    pixels = likelihood(torch.zeros(2, likelihood.outputs, 28, 28))
    with pytest.raises(ValueError, match=r"expected \(…, 1, 28, 28\)"):
        pixels.log_prob(torch.zeros(2, *shape))
    assert pixels.log_prob(torch.zeros(3, 1, 1, 28, 28)).shape == (3, 2)


@pytest.mark.parametrize("encoder", [MLPEncoder(2, [8], (28, 28, 1)), ConvEncoder(2, [4], (3, 28, 28))])
def test_parts_have_images_of_one_shape(encoder):
    with pytest.raises(ValueError, match=r"the encoder's images are .*, the decoder's \(1, 28, 28\)"):
        VAE(encoder, MLPDecoder(2, [8], Bernoulli(), SHAPE), StandardNormal(2))


def test_a_likelihood_gives_images_of_the_decoders_shape():
    with pytest.raises(ValueError, match=r"the likelihood's images are \(2, 28, 28\), the decoder's \(1, 28, 28\)"):
        VAE(MLPEncoder(2, [8], SHAPE), MLPDecoder(2, [8], Doubled(), SHAPE), StandardNormal(2))


@pytest.mark.parametrize("shape", [(28, 28, 1), (784, 1, 1), (1, 784, 1)])
@pytest.mark.parametrize("stage", ["fit", "validate", "test"])
def test_a_model_of_another_shape_than_the_data_is_refused_before_anything_runs(tmp_path, small_data, shape, stage):
    model = VAE(MLPEncoder(2, [8], shape), MLPDecoder(2, [8], Bernoulli(), shape), StandardNormal(2))
    assert isinstance(small_data, MNISTDataModule)
    with pytest.raises(ImageError, match=r"the images of the data are \(1, 28, 28\), the model's"):
        getattr(trainer(tmp_path), stage)(Training(model, KL()), small_data)
