"""Values are held to the annotations of the arguments that they become."""

import hydra
import pytest
from omegaconf import OmegaConf

from vae_lab.config.build import build_model, check, check_targets
from vae_lab.errors import ConfigError
from vae_lab.paths import CONF
from vae_lab.runs.output_folder import output_dir


@pytest.fixture
def compose():
    OmegaConf.register_new_resolver("output_dir", output_dir, replace=True)
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: hydra.compose("config", list(overrides))


CHOICES = sorted(
    f"{folder.name}={file.stem}"
    for folder in CONF.iterdir()
    if folder.is_dir() and folder.name not in ("hydra", "sweep")
    for file in folder.glob("*.yaml")
)


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_composes_checks_and_builds(compose, choice):
    config = compose(choice, *(["loss=sgvb"] if choice.startswith("prior=") else []))
    check(config)
    check_targets(OmegaConf.to_container(config, resolve=True))
    assert build_model(config).sample(2).shape == (2, 1, 28, 28)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("latent_dim=1.5", "latent_dim=1.5: must be a valid integer"),
        ("+trainer.val_check_interval=0.5", "trainer.val_check_interval=0.5: must be null"),
        ("+trainer.check_val_every_n_epoch=2", "trainer.check_val_every_n_epoch=2: must be 1"),
        ("+trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches=2: must be 1"),
        ("trainer.gradient_clip_val=0", "trainer.gradient_clip_val=0: must be greater than 0"),
        ("compile=maybe", "compile=maybe: must be a valid boolean"),
        ("hidden_dims=300", "hidden_dims=300: must be a valid array"),
        ("hidden_dims=[10,-1]", "hidden_dims=[10,-1]: must be greater than or equal to 1"),
        ("optimizer.lr='1e-3'", "optimizer.lr=1e-3: must be a valid number"),
        ("optimizer.lr=nan", "optimizer.lr=nan: must be a finite number"),
        ("optimizer.fused=maybe", "optimizer.fused=maybe: must be a valid boolean"),
        ("loss.samples=0", "loss.samples=0: must be greater than or equal to 1"),
        ("encoder.activation=swish", "encoder.activation=swish: must be 'relu', 'elu', 'silu', 'gelu' or 'tanh'"),
        ("callbacks.samples.rows=0", "callbacks.samples.rows=0: must be greater than or equal to 1"),
        ("+decoder.layernorm=true", "decoder.layernorm=True: .* takes no such argument, did you mean .*layer_norm"),
        ("trainer.devices={}", "trainer.devices={}: "),
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
        "vae_lab.tasks.run.platform.os.system",
        "vae_lab.priors.os.system",
        "vae_lab.priors.torch.load",
        # ours, and no prior
        "vae_lab.__main__.main",
        "vae_lab.runs.folder.RunFolder.write_metrics",
        "vae_lab.data.mnist_files._download",
        "vae_lab.encoders.MLPEncoder",
        "vae_lab.priors.Prior",
        "lightning.Trainer",
    ],
)
def test_only_a_part_of_ours_is_allowed_at_its_place(target):
    with pytest.raises(ConfigError, match="only vae_lab's own parts"):
        check_targets({"prior": {"_target_": target}})


@pytest.mark.parametrize("key", ["prior.inner", "prior.inner.inner", "samples", "callbacks", "callbacks.samples.inner"])
def test_a_part_stands_only_where_it_belongs(key):
    node = {"_target_": "vae_lab.training.callbacks.PriorSamples" if "callbacks" in key else "vae_lab.priors.Mixture"}
    for name in reversed(key.split(".")):
        node = {name: node}
    with pytest.raises(ConfigError, match="only vae_lab's own parts"):
        check_targets(node)
    with pytest.raises(ConfigError, match="only vae_lab's own parts"):
        check_targets({"prior": [{"_target_": "vae_lab.priors.Mixture"}]})


@pytest.mark.parametrize("key", ["_args_", "_recursive_", "_convert_", "_partial_"])
def test_what_would_pass_arguments_by_their_check_is_refused(key):
    with pytest.raises(ConfigError, match=key):
        check_targets({"prior": {"_target_": "vae_lab.priors.Mixture", key: True}})


def test_lists_reach_constructors_as_plain_lists(compose):
    model = build_model(compose("hidden_dims=[20,10]"))
    assert model.encoder.net[0].out_features == 20
    assert model.decoder.net[0].out_features == 10
