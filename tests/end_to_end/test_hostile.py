"""Run folders that were made to do harm: each is refused with one line, and nothing outside it is touched."""

import contextlib
import os
import pickle
import struct
import zipfile

import pytest
import torch
from omegaconf import OmegaConf

import vae_lab
from helpers import call
from hostile import EVALUATE, both_ways, everything, forge, write
from vae_lab.errors import RunFolderError

# --- pickles ------------------------------------------------------------------------------------------------


class Payload:
    def __init__(self, *call):
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]


PAYLOADS = {
    "os.system": Payload(os.system, "touch mine/touched"),
    "eval": Payload(eval, "open('mine/touched', 'w')"),
    "a file": Payload(open, "mine/touched", "w"),
    "torch.load": Payload(torch.load, "run/checkpoints/last.ckpt"),
    "getattr": Payload(getattr, "text", "__class__"),
    "3 GB": Payload(bytearray, 3_000_000_000),
}


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("where", ["state_dict", "history", "config_sha256", "hyper_parameters"])
def test_a_pickle_that_acts(home, name, where):
    checkpoint = torch.load(home / "run" / "checkpoints" / "best.ckpt", weights_only=True)
    torch.save(checkpoint | {where: PAYLOADS[name]}, home / "run" / "checkpoints" / "best.ckpt")
    assert "best.ckpt" in both_ways(home).err


def test_a_bare_pickle(home):
    (home / "run" / "checkpoints" / "best.ckpt").write_bytes(pickle.dumps({"state_dict": PAYLOADS["os.system"]}))
    both_ways(home)


@pytest.mark.parametrize("record", ["archive/DATA.PKL", "archive/data.pkl"])
def test_a_second_pickle_in_the_archive(home, record):
    pickled = pickle.dumps(PAYLOADS["os.system"], protocol=2)
    with (
        zipfile.ZipFile(home / "run" / "checkpoints" / "best.ckpt", "a") as archive,
        pytest.warns(UserWarning, match="Duplicate") if record == "archive/data.pkl" else contextlib.nullcontext(),
    ):
        archive.writestr(record, pickled)
    assert "two records of one name" in both_ways(home).err


# --- sizes --------------------------------------------------------------------------------------------------


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little")


def claims(elements: int) -> bytes:
    """The pickle of one tensor of so many floats."""
    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + number(elements) + b"tQ"
    tensor = b"(" + storage + number(0) + b"(" + number(elements) + b"t(" + number(1) + b"t\x89}tR"
    return (
        b"\x80\x02}"
        + text("state_dict")
        + b"}"
        + text("encoder.net.0.weight")
        + b"ctorch._utils\n"
        + (b"_rebuild_tensor_v2\n" + tensor + b"ss.")
    )


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_checkpoint_that_claims_ten_gigabytes(home, compression):
    with zipfile.ZipFile(home / "run" / "checkpoints" / "best.ckpt", "w", compression) as archive:
        archive.writestr("archive/data.pkl", claims(2_500_000_000))
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(100 if compression == zipfile.ZIP_STORED else 100_000_000))
    assert "best.ckpt: damaged" in both_ways(home).err


def test_a_weight_that_is_one_number_seen_many_times(home):
    best = home / "run" / "checkpoints" / "best.ckpt"
    checkpoint = torch.load(best, weights_only=True)
    checkpoint["state_dict"]["encoder.net.0.weight"] = torch.zeros(1).expand(50_000, 50_000)
    torch.save(checkpoint, best)
    assert "of another model" in both_ways(home).err


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("encoder", "latent_dim", 10**12),
        ("encoder", "latent_dim", 1_000_000),
        ("encoder", "hidden_dims", [50_000, 50_000]),
        ("encoder", "hidden_dims", [300_000]),
        ("decoder", "hidden_dims", [10**30]),
        ("decoder", "image_shape", [1, 30_000, 30_000]),
        ("prior", "latent_dim", 500_000_000),
        ("loss", "samples", 50_000),
    ],
)
def test_a_model_of_absurd_size(home, part, key, value):
    forge(home / "run", lambda config: config[part].update({key: value}))
    assert "config.yaml: " in both_ways(home).err


@pytest.mark.parametrize("shape", [[1, 30_000, 30_000], [3, 28, 28], [1, 10**12, 1], "28"])
def test_images_of_another_shape(home, shape):
    forge(home / "run", lambda config: config.update(image_shape=shape))
    assert "config.yaml: image_shape=" in both_ways(home).err


def test_figures_of_absurd_size(home):
    node = {"_target_": "vae_lab.training.callbacks.PriorSamples", "rows": 10**6, "columns": 10**6}
    forge(home / "run", lambda config: config["callbacks"].update(samples=node))
    assert "callbacks.samples.columns=1000000" in both_ways(home).err


# --- configs ------------------------------------------------------------------------------------------------

TOUCH = {"_target_": "os.system", "command": "touch mine/touched"}
OVERWRITE = {"self": {"_target_": "vae_lab.runs.folder.RunFolder", "path": "mine"}, "metrics": {}}
CONFIGS = {
    "os.system": {"prior": TOUCH},
    "posix.system": {"prior": TOUCH | {"_target_": "posix.system"}},
    "by our own name": {"prior": TOUCH | {"_target_": "vae_lab.cli.os.system"}},
    "subprocess": {"prior": {"_target_": "subprocess.run", "args": ["touch", "mine/touched"]}},
    "functools.partial": {"prior": {"_target_": "functools.partial", "_args_": [TOUCH, "touch mine/touched"]}},
    "positional": {"prior": {"_target_": "vae_lab.priors.Mixture", "_args_": [TOUCH]}},
    "in a list": {"encoder": {"_target_": "vae_lab.encoders.MLPEncoder", "latent_dim": 2, "hidden_dims": [TOUCH]}},
    "in defaults": {"defaults": [{"prior": TOUCH}]},
    "in a group of its own": {"judge": TOUCH},
    "a posterior": {"posterior": TOUCH},
    "a posterior of an encoder": {
        "encoder": {"_target_": "vae_lab.encoders.MLPEncoder", "latent_dim": 2, "hidden_dims": [8], "posterior": TOUCH}
    },
    "a model": {"model": TOUCH},
    "an argument of a model": {"model": {"_target_": "vae_lab.models.VAE", "prior": TOUCH}},
    "a former name": {"scheduler": {"_target_": "vae_lab.schedulers.math.sqrt", "_partial_": True}},
    "under a partial": {"optimizer": TOUCH | {"_partial_": True}},
    "a partial part": {"prior": {"_target_": "vae_lab.priors.Mixture", "_partial_": True}},
    "in an argument": {"trainer": {"_target_": "lightning.Trainer", "strategy": TOUCH}},
    "a scheduler": {"scheduler": TOUCH | {"_partial_": True}},
    "behind an interpolation": {"prior": {"_target_": "${command}"}, "command": "os.system"},
    "the environment": {"data": {"_target_": "vae_lab.data.MNISTDataModule", "root": "${oc.env:SECRET}"}},
    "the environment in a name": {"task": "${oc.decode:${oc.env:SECRET}}"},
    "our resolver": {"task": "${output_dir:train,null,mine}"},
    "our program": {"prior": {"_target_": "vae_lab.__main__.main"}},
    "our files": {"prior": OVERWRITE | {"_target_": "vae_lab.runs.folder.RunFolder.write_metrics"}},
    "our downloads": {"prior": {"_target_": "vae_lab.data.mirrors._download", "url": "file:///etc/passwd"}},
    "a path for checkpoints": {
        "callbacks": {"c": {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "dirpath": "mine"}}
    },
    "a callback of callbacks": {"callbacks": {"c": {"d": {"_target_": "vae_lab.training.callbacks.BestCheckpoint"}}}},
    "codes for a terminal": {"prior": {"_target_": "\x1b[2J\nvae_lab: all is well"}},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_acts(home, name):
    forge(home / "run", lambda config: config.update(CONFIGS[name]))
    assert "run/config.yaml: " in both_ways(home).err


TEXTS = {
    "aliases": "a: &a [1, 1]\nb: &b [*a, *a]\nc: [*b, *b]\n",
    "many aliases": "".join(f"k{i}: &k{i} [{','.join([f'*k{i - 1}' if i else '1'] * 9)}]\n" for i in range(12)),
    "levels": "a: " + "[" * 20_000 + "]" * 20_000 + "\n",
    "tags": "a: !!python/object/apply:os.system ['touch mine/touched']\n",
    "a path's tag": "a: !!python/object/apply:pathlib.PosixPath ['/']\n",
    "size": "a: " + "1" * 1_000_000 + "\n",
    "digits": "seed: " + "9" * 10_000 + "\n",
    "a number for a name": "1: 2\n",
    "a missing value": "seed: ???\n",
    "two documents": "---\na: 1\n---\nb: 2\n",
    "not text": "\x00\x01",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_config_that_is_a_bomb(home, name):
    write(home / "run", TEXTS[name] + (home / "run" / "config.yaml").read_text())
    assert "run/config.yaml: " in both_ways(home).err


@pytest.mark.usefixtures("small_files")
def test_paths_in_a_config_lead_nowhere(home):
    """What a config may say of paths is not used: the folder is the one that was named on the command line."""

    def change(config):
        config["data"]["root"] = str(home / "mine")
        config["trainer"]["default_root_dir"] = str(home / "mine")
        config["logger"] = {"csv": {"_target_": "vae_lab.training.loggers.CSV", "save_dir": str(home / "mine")}}
        config["run_dir"] = config["hydra"] = str(home / "mine")

    forge(home / "run", change)
    before = everything(home / "mine")
    answer = call(*EVALUATE)
    assert answer.code == 0, answer.err
    assert everything(home / "mine") == before
    assert {path.name for path in home.iterdir()} == {"run", "mine"}


# --- links --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ["run.log", "metrics.json", "metrics.json.part", "figures", "figures/bounds.png"])
def test_a_link_that_leads_outside(home, entry):
    target = home / "mine" if entry == "figures" else home / "mine" / "metrics.json"
    link = home / "run" / entry
    if entry == "figures":
        for figure in link.iterdir():
            figure.unlink()
        link.rmdir()
    link.unlink(missing_ok=True)
    link.symlink_to(target)
    before = everything(home)
    answer = call(*EVALUATE)
    assert answer.code == 2
    assert f"run/{entry}: is a link" in answer.err
    assert everything(home) == before


@pytest.mark.parametrize("entry", ["run.log", "report.html", "report.html.part", "sweep.csv.part"])
def test_a_report_through_a_link_that_leads_outside(home, entry):
    (home / "sweep").mkdir()
    (home / "run").rename(home / "sweep" / "seed=0")
    (home / "sweep" / entry).symlink_to(home / "mine" / "metrics.json")
    answer = call("task=report", "sweep_dir=sweep")
    assert answer.code == (0 if entry.endswith(".part") else 2)
    assert answer.code == 0 or f"sweep/{entry}: is a link" in answer.err
    assert (home / "mine" / "metrics.json").read_text() == "precious"


def test_a_pipe_that_never_answers(home):
    for name in ("run.log", "config.yaml"):
        (home / "run" / name).unlink()
        os.mkfifo(home / "run" / name)
        assert "not a plain file" in call(*EVALUATE).err
    with pytest.raises(RunFolderError, match=r"config\.yaml: is not a plain file"):
        vae_lab.load("run")


def test_the_honest_run_is_not_refused(home):
    forge(home / "run", lambda config: config.update(OmegaConf.to_container(OmegaConf.create(config))))
    assert vae_lab.load("run").sample(2).shape == (2, 1, 28, 28)
