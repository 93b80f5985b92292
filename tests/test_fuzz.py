"""Configurations that nobody thought of: valid ones run whole, invalid ones end in one line.

VAE_LAB_FUZZ=300 draws so many of each, others each time; without it the same few are drawn each time.
"""

import copy
import functools
import json
import math
import operator
import os
import tempfile
from pathlib import Path

import pytest
import torch
import yaml
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

import vae_lab
from helpers import FIGURES, call
from vae_lab.complaints import _choices, _defaults
from vae_lab.config.build import build_data
from vae_lab.config.saved import read_config
from vae_lab.errors import UserError
from vae_lab.paths import CONF
from vae_lab.runs.folder import RunFolder

drawn = settings(
    max_examples=int(os.environ.get("VAE_LAB_FUZZ", "4")),
    derandomize="VAE_LAB_FUZZ" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # an example takes a second, and making it smaller takes hundreds
    suppress_health_check=list(HealthCheck),
)
pytestmark = pytest.mark.usefixtures("small_files")


@pytest.fixture(scope="module", autouse=True)
def _elsewhere():
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.chdir(folder)
        yield


# --- what is allowed ----------------------------------------------------------------------------------------

widths = st.integers(1, 40)
activations = st.sampled_from(["relu", "elu", "silu", "gelu", "tanh"])
flags = st.booleans().map(lambda flag: str(flag).lower())


def lists(most: int, largest: int) -> st.SearchStrategy[str]:
    found = st.lists(st.integers(1, largest), min_size=1, max_size=most)
    return found.map(lambda sizes: str(sizes).replace(" ", ""))


def choice(group: str, **keys: st.SearchStrategy) -> st.SearchStrategy[list[str]]:
    """A part with some of its keys: ``prior=mixture, prior.components=3``."""
    key, _, name = group.partition("=")
    values = st.fixed_dictionaries({}, optional=keys)
    return values.map(lambda some: [f"{key}={name}", *(f"{key}.{k}={v}" for k, v in some.items())])


def networks(part: str) -> st.SearchStrategy[list[str]]:
    return choice(f"{part}=mlp", activation=activations, layer_norm=flags) | choice(
        f"{part}=conv", activation=activations
    )


LIKELIHOODS = choice("likelihood=bernoulli") | choice(
    "likelihood=gaussian", scale=st.floats(0.05, 3), learned=flags, squash=flags
)
KLS = {"coeff": st.floats(0, 10), "samples": st.integers(1, 3), "warmup_epochs": st.floats(0, 3)}
PRIORS_AND_LOSSES = st.tuples(choice("prior=standard_normal"), choice("loss=kl", **KLS)) | st.tuples(
    choice("prior=standard_normal")
    | choice("prior=mixture", components=widths)
    | choice("prior=planar_flow", layers=st.integers(1, 5))
    | choice("prior=vamp", components=st.integers(1, 20))
    | choice("prior=flow", kind=st.sampled_from(["spline", "autoregressive"]), transforms=st.integers(1, 2)),
    choice("loss=sgvb", **KLS),
)
OPTIMIZERS = choice("optimizer=adamw") | choice(
    "optimizer=adam", lr=st.floats(1e-6, 1e-2), weight_decay=st.floats(0, 0.1)
)
SCHEDULERS = choice("scheduler=none") | choice("scheduler=warmup_cosine", warmup_steps=st.integers(0, 10))
DATA = choice(
    "data=mnist",
    binarization=st.sampled_from(["dynamic", "static", "threshold", "none"]),
    eval_batch_size=st.integers(1, 100),
    validation_choice=st.sampled_from(["last", "random"]),
    seed=st.integers(0, 2**32 - 1),
)
TRAINERS = choice(
    "trainer=cpu",
    precision=st.sampled_from(["32-true", "bf16-mixed", "64-true"]),
) | choice("trainer=cpu", gradient_clip_val=st.floats(0.1, 100))
VALUES = st.fixed_dictionaries(
    {
        "latent_dim": widths,
        "hidden_dims": lists(3, 40),
        "channels": lists(4, 8),
        "data.batch_size": st.integers(1, 100),
        "data.validation": st.integers(0, 100) | st.just("none"),
    },
    optional={"seed": st.integers(0, 2**32 - 1), "start_at_data_mean": flags},
).map(lambda some: [f"{k}={v}" for k, v in some.items()])
SHOWN = st.sampled_from([None, None, *FIGURES]).map(
    lambda shown: [f"callbacks.{name}=null" for name in FIGURES if name != shown]
)


LOGGERS = choice("logger=default") | choice("logger=csv")
OTHERS = (
    *(networks("encoder"), networks("decoder"), LIKELIHOODS, OPTIMIZERS, SCHEDULERS),
    *(DATA, TRAINERS, VALUES, SHOWN, LOGGERS),
)


@st.composite
def configurations(draw) -> list[str]:
    parts = [*draw(PRIORS_AND_LOSSES), *(draw(group) for group in OTHERS)]
    return [override for part in parts for override in part]


SHORT = ("trainer.limit_train_batches=2", "trainer.max_epochs=1")
LIMITS = ("trainer.limit_val_batches=2", "trainer.limit_test_batches=2")


@drawn
@given(configurations())
def test_a_valid_configuration_trains_is_kept_and_measured_again(overrides):
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        answer = call(
            *overrides, *LIMITS, "trainer.limit_train_batches=2", "trainer.max_epochs=1", f"hydra.run.dir={run}"
        )
        assert answer.code == 0, answer.err
        assert answer.err == ""
        first = json.loads((run / "metrics.json").read_text())
        model = vae_lab.load(run)
        images = model.sample(3)
        assert images.shape == (3, 1, 28, 28)
        assert images.isfinite().all()
        precision = next((o for o in overrides if o.startswith("trainer.precision=")), "trainer.precision=32-true")
        again = call(
            "task=evaluate",
            f"run_dir={run}",
            "trainer=cpu",
            *LIMITS,
            precision,
            "evaluation.k=3",
            "evaluation.samples=none",
        )
        assert again.code == 0, again.err
        assert again.err == ""
        second = json.loads((run / "metrics.json").read_text())
        assert second["test/nelbo"] == pytest.approx(first["test/nelbo"], rel=1e-6)
        assert all(math.isfinite(value) for value in second.values() if isinstance(value, float))
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


# --- what is not --------------------------------------------------------------------------------------------

DEFAULTS = {key: value for key, value in _defaults().items() if value is not None}
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and _choices(path.name))
PARTS = ("encoder", "decoder", "likelihood", "prior", "loss", "optimizer", "data", "trainer")
words = st.text("abcdefghijklmnopqrstuvwxyz_", min_size=3, max_size=12).filter(
    lambda w: w not in ("null", "none", "nan", "inf", "true")
)


def wrong_values(value: object) -> st.SearchStrategy[str]:
    """What a key with this default cannot be."""
    strange = st.sampled_from(["[[1]]", "{a:1}", "[a,1]", "[{_target_:os.system}]"])
    if isinstance(value, bool):
        return strange | words | st.integers().map(str)
    if isinstance(value, int | float):
        return (
            strange | words | st.sampled_from(["nan", "-inf", "''", "true", "[1]"]) | st.integers(-(10**6), -2).map(str)
        )
    if str(value).startswith("["):
        return strange | words | st.sampled_from(["[]", "[0]", "[-1]", "[1.5]", "3", "null", "[10000000]"])
    return strange | words | st.floats(allow_nan=False, allow_infinity=False).map(str) | st.sampled_from(["''", "null"])


ODD = (None, "x", -1, 0, [], {}, math.inf, math.nan, True, [[1]], {"a": 1}, 10**30, "vae_lab.priors.Mixture", "${seed}")


def places(node: object, key: tuple = ()) -> list[tuple]:
    """The way to every value of a config, and to all that holds values."""
    inside = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [*([key] if key else []), *(place for name, child in inside for place in places(child, (*key, name)))]


@pytest.fixture
def stranger(tiny_run) -> tuple[RunFolder, dict]:
    """A run whose checkpoint says nothing of its config, and the config."""
    folder = RunFolder(tiny_run)
    checkpoint = torch.load(folder.best, weights_only=True)
    torch.save({"state_dict": checkpoint["state_dict"]}, folder.best)
    return folder, yaml.safe_load(folder.config_file.read_text())


@drawn
@given(data=st.data())
def test_a_strange_value_in_a_run_folder_is_refused_or_harmless(stranger, data):
    folder, config = stranger[0], copy.deepcopy(stranger[1])
    *way, last = data.draw(st.sampled_from(places(config)))
    node = functools.reduce(operator.getitem, way, config)
    node[last] = data.draw(st.sampled_from(ODD))
    folder.config_file.write_text(yaml.safe_dump(config))
    try:
        assert vae_lab.load(folder.path).sample(2).isfinite().all()
        build_data(read_config(folder))
    except UserError as error:
        assert "\n" not in str(error)  # noqa: PT017  (whether it raises is what was drawn)


@st.composite
def wrong_value(draw) -> str:
    key = draw(st.sampled_from(sorted(DEFAULTS)))
    # null is the library's own default of a precision
    value = draw(wrong_values(DEFAULTS[key]).filter(lambda v: (key, v) != ("trainer.precision", "null")))
    return f"{key}={value}"


@st.composite
def misspelt_key(draw) -> str:
    key = draw(st.sampled_from(sorted(DEFAULTS)))
    place = draw(st.integers(0, len(key) - 1))
    wrong = key[:place] + draw(st.sampled_from(["", "x", "_"])) + key[place + 1 :]
    assume(wrong not in _defaults() and not any(known.startswith(f"{wrong}.") for known in DEFAULTS))
    assume(wrong.replace(".", "").isidentifier() and ".." not in f".{wrong}.")
    return f"{wrong}={DEFAULTS[key]}"


@st.composite
def wrong_choice(draw) -> str:
    group = draw(st.sampled_from(GROUPS))
    return f"{group}={draw(words.filter(lambda word: word not in _choices(group)))}"


LACKING = st.sampled_from(
    [f"~{part}" for part in PARTS] + [f"{part}={odd}" for part in PARTS for odd in ("[]", "null", "[1]")]
)
HALF = st.sampled_from(sorted(DEFAULTS)) | st.sampled_from(sorted(DEFAULTS)).map(lambda key: f"{key}=[1,")


@drawn
@given(wrong_value() | misspelt_key() | wrong_choice() | LACKING | HALF, configurations())
def test_an_invalid_configuration_is_one_line_and_leaves_nothing(wrong, overrides):
    key = wrong.lstrip("~").partition("=")[0]
    kept = [
        o for o in overrides if not (o.startswith((f"{key}=", f"{key}.")) or key.startswith(o.partition("=")[0] + "."))
    ]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        answer = call(*kept, f"hydra.run.dir={run}", wrong)
        assert answer.code == 2, (wrong, answer)
        assert answer.out == ""
        (line,) = answer.err.splitlines()
        assert line.startswith("vae_lab: ")
        assert len(line) < 400
        assert not run.exists(), line
