"""Values are checked against the annotations of the arguments that they become, and become objects."""

from pathlib import Path

import hydra
import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

from vae_lab.config.build import build_data, build_model, build_training, image_shape_of
from vae_lab.config.check import check
from vae_lab.config.targets import check_targets
from vae_lab.config.trust import Trust
from vae_lab.errors import ConfigError
from vae_lab.paths import CONF
from vae_lab.training import callbacks


@pytest.fixture
def compose():
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: hydra.compose("config", list(overrides))


@pytest.mark.parametrize("data", ["images", "arrays"])
def test_levels_of_own_images_have_a_density_unless_another_likelihood_is_named(compose, data):
    assert compose(f"data={data}").likelihood._target_ == "vae_lab.likelihoods.Gaussian"
    for likelihood, name in (("bernoulli", "Bernoulli"), ("categorical", "Categorical")):
        composed = compose(f"data={data}", f"likelihood={likelihood}")
        assert composed.decoder.likelihood._target_ == f"vae_lab.likelihoods.{name}"


CHOICES = sorted(
    f"{folder.name}={file.stem}"
    for folder in CONF.iterdir()
    if folder.is_dir() and folder.name not in ("hydra", "sweep")
    for file in folder.glob("*.yaml")
)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_checks_and_builds(compose, choice, tmp_path, monkeypatch):
    monkeypatch.setenv("VAE_LAB_DATA", str(tmp_path / "cache"))
    np.save(tmp_path / "own.npy", np.full((200, 8, 8), 99, np.uint8))
    for i in range(200 if choice == "data=images" else 0):
        Image.new("L", (8, 8)).save(tmp_path / f"{i}.png")
    beside = {"data=images": [f"data.root={tmp_path}"], "data=arrays": [f"data.file={tmp_path}/own.npy"]}.get(
        choice, []
    )
    beside += ["inference=svi"] if choice == "encoder=none" else []
    beside += ["loss=sgvb"] if choice.startswith(("prior=", "posterior=")) else []
    beside += ["data.binarization=none"] if choice == "likelihood=continuous_bernoulli" else []
    beside += ["model=gan"] if choice.startswith("discriminator=") or choice == "loss=adversarial" else []
    config = compose(choice, *beside)
    check(config)
    check_targets(OmegaConf.to_container(config, resolve=True))
    data = build_data(config)
    model = build_model(config, image_shape_of(config, data))
    assert model.sample(2).shape == (2, *data.image_shape)
    build_training(config, model)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("latent_dim=1.5", "latent_dim=1.5: must be a valid integer"),
        ("+trainer.val_check_interval=0.5", "trainer.val_check_interval=0.5: must be null"),
        ("+trainer.check_val_every_n_epoch=2", "trainer.check_val_every_n_epoch=2: must be 1"),
        ("+trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=2: must be 1"),
        ("trainer.gradient_clip_val=0", "trainer.gradient_clip_val=0: must be greater than 0"),
        ("compile=maybe", "compile=maybe: must be a valid boolean"),
        (
            "hidden_dims=300",
            "hidden_dims=300: must be a list, its entries between [ and ]",
        ),
        ("hidden_dims=[10,-1]", "hidden_dims=[10,-1]: must be greater than or equal to 1"),
        ("optimizer.lr='1e-3'", "optimizer.lr=1e-3: must be a valid number"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be a finite number"),
        ("optimizer.fused=maybe", "optimizer.fused=maybe: must be a valid boolean"),
        ("loss.samples=0", "loss.samples=0: must be greater than or equal to 1"),
        ("encoder.activation=swish", "encoder.activation=swish: must be 'relu', 'elu', 'silu', 'gelu' or 'tanh'"),
        ("callbacks.samples.rows=0", "callbacks.samples.rows=0: must be greater than or equal to 1"),
        ("+decoder.layernorm=true", "decoder.layernorm=True: .* takes no such argument, did you mean .*layer_norm"),
        ("trainer.devices={}", "trainer.devices={}: "),
        ("image_shape=[28,28]", "image_shape=[28,28]: "),
        ("image_shape=[1,0,28]", "image_shape=[1,0,28]: must be greater than or equal to 1"),
        ("matmul=fast", "matmul=fast: must be 'auto', 'onednn' or 'torch'"),
        ("+encoder.image_shape=[1,28,28]", "encoder.image_shape=[1,28,28]: comes from the data; leave it out"),
        ("+decoder.image_shape=[1,28,28]", "decoder.image_shape=[1,28,28]: comes from the data; leave it out"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(compose, override, line):
    with pytest.raises(ConfigError, match=line.replace("[", r"\[").replace("{", r"\{")) as raised:
        check(compose(override))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("override", ["callbacks.last.every_n_steps=100000", "callbacks.samples.every_n_epochs=1000"])
def test_how_seldom_something_is_done_has_no_limit(compose, override):
    check(compose(override))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "functools.partial",
        7,
        ["vae_lab.priors.Mixture"],
        # written as ours
        "vae_lab.cli.os.system",
        "vae_lab.priors.os.system",
        "vae_lab.priors.torch.load",
        # ours, and no prior
        "vae_lab.__main__.main",
        "vae_lab.runs.folder.RunFolder.write_metrics",
        "vae_lab.data.mirrors._download",
        "vae_lab.encoders.MLPEncoder",
        "vae_lab.priors.Prior",
        "lightning.Trainer",
    ],
)
def test_only_our_parts_are_allowed_at_their_place(target):
    config = {"prior": {"_target_": target}}
    with pytest.raises(ConfigError, match=r"only vae_lab's own parts|is a class of the package (torch|lightning)"):
        check_targets(config, Trust((), Path("run")))
    with pytest.raises(ConfigError, match=r"only vae_lab's own parts|class derived from vae_lab\.priors\.Prior"):
        check_targets(config)


@pytest.mark.parametrize("key", ["prior.inner", "prior.inner.inner", "samples", "callbacks", "callbacks.samples.inner"])
def test_a_part_stands_only_where_it_belongs(key):
    node = {"_target_": "vae_lab.training.callbacks.PriorSamples" if "callbacks" in key else "vae_lab.priors.Mixture"}
    for name in reversed(key.split(".")):
        node = {name: node}
    for trust in (None, Trust((), Path("run"))):
        with pytest.raises(ConfigError, match="only vae_lab's own parts"):
            check_targets(node, trust)
    with pytest.raises(ConfigError, match="only vae_lab's own parts"):
        check_targets({"prior": [{"_target_": "vae_lab.priors.Mixture"}]})


@pytest.mark.parametrize("key", ["_args_", "_recursive_", "_convert_", "_partial_"])
def test_arguments_that_would_skip_their_check_are_refused(key):
    with pytest.raises(ConfigError, match=key):
        check_targets({"prior": {"_target_": "vae_lab.priors.Mixture", key: True}})


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("model", "vae_lab.models.VAE"),
        ("posterior", "vae_lab.posteriors.DiagonalNormal"),
        ("encoder.posterior", "vae_lab.posteriors.DiagonalNormal"),
        ("decoder.likelihood", "vae_lab.likelihoods.Bernoulli"),
        ("scheduler", "vae_lab.training.schedulers.warmup_cosine"),
        # offered there, and defined elsewhere in vae_lab
        *((f"callbacks.{name}", f"vae_lab.training.callbacks.{name}") for name in callbacks.__all__),
    ],
)
def test_what_a_module_offers_is_allowed(key, target):
    *groups, name = key.split(".")
    node = {name: {"_target_": target}}
    for group in reversed(groups):
        node = {group: node}
    check_targets(node)


@pytest.mark.parametrize(
    "target",
    [
        "vae_lab.models.Model",
        "vae_lab.models.Draws",
        "vae_lab.posteriors.Posterior",
        "vae_lab.posteriors.Size",
        "vae_lab.training.callbacks.FigureCallback",
        "vae_lab.training.figures.FigureCallback",
    ],
)
@pytest.mark.parametrize("key", ["model", "posterior", "callbacks.a"])
def test_what_is_no_part_is_refused(key, target):
    group, _, name = key.partition(".")
    node = {"_target_": target}
    with pytest.raises(ConfigError, match="only vae_lab's own parts"):
        check_targets({group: {name: node} if name else node})


def test_the_data_say_the_shape_of_the_images(compose):
    config = compose()
    data = build_data(config)
    assert tuple(image_shape_of(config, data)) == (1, 28, 28)
    config.image_shape = [1, 28, 28]
    assert tuple(image_shape_of(config, data)) == (1, 28, 28)
    config.image_shape = [3, 28, 28]
    with pytest.raises(ConfigError, match=r"image_shape=\[3,28,28\]: .* \[1, 28, 28\]; leave it out"):
        image_shape_of(config, data)


@pytest.mark.parametrize(
    ("override", "images"), [("data.eval_batch_size=1000000", 60_000), ("data.batch_size=1000", 1000)]
)
def test_too_many_images_decoded_at_once_are_refused(compose, override, images):
    with pytest.raises(ConfigError, match=f"loss.samples=3000: with {override.partition('=')[0]}={images} .* decoded"):
        build_data(compose("loss.samples=3000", override))


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["likelihood=continuous_bernoulli"], "data.binarization=dynamic: .* a density without a limit .* use none"),
        (["likelihood=categorical", "likelihood.levels=16", "data.binarization=none"], "likelihood.levels=16: .* 256"),
    ],
)
def test_pixels_that_the_likelihood_has_no_probability_for_are_refused(compose, overrides, line):
    with pytest.raises(ConfigError, match=line):
        build_model(compose(*overrides), (1, 28, 28))


def test_outputs_of_a_pixel_count_among_what_is_decoded_at_once(compose):
    with pytest.raises(ConfigError, match=r"eval_batch_size=10000: 10,000 images .* at most 7,812 of 200,704 outputs"):
        build_data(compose("likelihood=categorical", "data.eval_batch_size=10000"))


def test_a_loss_without_a_closed_form_names_another(compose):
    config = compose("prior=mixture", "loss=kl")
    with pytest.raises(ConfigError, match=r"loss=kl: .* use loss=sgvb"):
        build_training(config, build_model(config, (1, 28, 28)))


def test_parts_that_do_not_fit_are_one_line(compose):
    config = compose("prior.latent_dim=3")
    with pytest.raises(ConfigError, match=r"encoder=MLPEncoder: does not fit the other parts"):
        build_model(config, (1, 28, 28))


def test_a_part_that_gives_no_distribution_is_named_itself(compose):
    config = compose("prior._target_=vae_lab.priors.Prior", "~prior.latent_dim")
    with pytest.raises(ConfigError, match=r"^prior=Prior: Prior has no forward of its own"):
        build_model(config, (1, 28, 28))


def test_lists_reach_constructors_as_plain_lists(compose):
    model = build_model(compose("hidden_dims=[20,10]"), (1, 28, 28))
    assert model.encoder.net[0].out_features == 20
    assert model.decoder.net[0].out_features == 10
