"""Help, completion, and one line for each mistake."""

import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers import IMPORTS_TOLD, Answer, call, finish, start, start_warm

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["-sc", "query=bash"]])
def test_quick_answers_import_nothing_heavy(tmp_path, arguments, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "vae_lab prior=")
    monkeypatch.setenv("COMP_POINT", "14")
    done = finish(start(*arguments, folder=tmp_path, program=IMPORTS_TOLD))
    assert done.returncode == 0, done.stderr
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"torch", "lightning", "torchvision", "matplotlib", "tensorboard", "numpy"}


def test_help_names_every_part_and_its_choices(tmp_path):
    text = finish(start("--help", folder=tmp_path)).stdout
    for group in sorted(path for path in (REPOSITORY / "conf").iterdir() if path.is_dir() and path.name != "hydra"):
        choices = ", ".join(sorted(file.stem for file in group.glob("*.yaml")))
        assert not choices or f"{group.name}: {choices}" in text
    commands = [line for line in text.splitlines() if line.strip().startswith("python -m vae_lab")]
    assert len(commands) == 7
    assert "hydra.cc" not in text


def test_completion_offers_the_choices(tmp_path, monkeypatch):
    monkeypatch.setenv("COMP_LINE", "vae_lab loss=")
    monkeypatch.setenv("COMP_POINT", "13")
    done = finish(start("-sc", "query=bash", folder=tmp_path))
    assert {"loss=kl", "loss=sgvb"} <= set(done.stdout.split())


MISTAKES = {
    "unknown choice": (["prior=standart_normal"], "prior=standart_normal", "did you mean standard_normal?"),
    "misspelt key": (["optimizer.lrr=1"], "optimizer.lrr=1", "did you mean optimizer.lr?"),
    "a key of another choice": (
        ["data.file=x.npz"],
        "data.file=x.npz",
        "here: data.file is of data=arrays;",
    ),
    "a key of other choices": (
        ["decoder.norm=batch"],
        "decoder.norm=batch",
        "is of decoder=conv or resnet;",
    ),
    "key without its group": (["lr=1"], "lr=1", "did you mean optimizer.lr?"),
    "text for a number": (["optimizer.lr=fast"], "optimizer.lr=fast", "valid number; for example optimizer.lr=0.003"),
    "no hidden layers": (["hidden_dims=[]"], "hidden_dims=[]", "at least 1 item"),
    "a layer of nothing": (["hidden_dims=[300,0]"], "hidden_dims=[300,0]", "greater than or equal to 1"),
    "a layer of less": (["hidden_dims=[-3]"], "hidden_dims=[-3]", "greater than or equal to 1"),
    "no latent space": (["latent_dim=0"], "latent_dim=0", "greater than or equal to 1"),
    "no batch": (["data.batch_size=0"], "data.batch_size=0", "greater than or equal to 1"),
    "batch above the set": (["data.batch_size=70000"], "data.batch_size=70000", "at most 55000"),
    "negative lr": (["optimizer.lr=-0.1"], "optimizer.lr=-0.1", "greater than 0"),
    "negative coeff": (["loss.coeff=-1"], "loss.coeff=-1", "greater than or equal to 0"),
    "unwritable folder": (["hydra.run.dir=/proc/nowhere"], "/proc/nowhere", "hydra.run.dir=FOLDER"),
    "no such run": (["task=evaluate", "run_dir=nowhere"], "run_dir=nowhere", "no such folder"),
    "no run named": (["task=evaluate"], "task=evaluate", "run_dir=FOLDER"),
    "a folder that is no run": (["task=evaluate", "run_dir=."], "config.yaml", "folder of a finished run"),
    "no sweep named": (["task=report"], "task=report", "sweep_dir=FOLDER"),
    "no such sweep": (["task=report", "sweep_dir=nowhere"], "sweep_dir=nowhere", "no such folder"),
    "a folder without runs": (["task=report", "sweep_dir=."], "sweep_dir=.", "holds no runs"),
    "no samples to judge": (["evaluation.samples=1"], "evaluation.samples=1", "'none'"),
    "settings of a finished run": (
        ["task=evaluate", "run_dir=.", "data.binarization=static"],
        "data.binarization=static",
        "keeps its own settings",
    ),
    "unknown task with a folder": (["task=trian", "hydra.run.dir=."], "task=trian", "'train'"),
    "no value to check": (
        ["experiment=estimator_check", "prior=mixture", "latent_dim=3"],
        "latent_dim=3",
        "needs latent_dim=2",
    ),
    "unknown task": (["task=trian"], "task=trian", "train, evaluate, figures, explore, report or estimator_check"),
    "no GPU": (["trainer.devices=1", "trainer.accelerator=gpu"], "trainer.accelerator=gpu", "trainer.accelerator=cpu"),
    "no closed form": (["loss=kl", "prior=mixture"], "loss=kl", "loss=sgvb"),
    "an argument that is not there": (["+prior.size=3"], "prior.size=3", "takes no such argument"),
    "a part that others need": (["~likelihood"], "likelihood=None", "leave ~likelihood out"),
    "an argument of another choice": (
        ["loss=iwae", "loss.free_bits=1"],
        "loss.free_bits=1",
        "loss=iwae takes no free_bits",
    ),
    "a size that nothing follows": (["model=autoregressive", "latent_dim=4"], "latent_dim=4", "leave it out"),
    "a decoder that needs codes": (
        ["model=autoregressive", "decoder=mlp"],
        "decoder=mlp",
        "use pixelcnn or transformer",
    ),
    "a part that the model does not take": (["model=ladder", "encoder=conv"], "encoder=conv", "leave it out"),
    "a gradient that the compiler drops": (["loss=dreg", "compile=true"], "compile=True", "use false"),
    "half an override": (["optimizer.lr"], "optimizer.lr", "missing EQUAL"),
    "a group named twice": (["debug=fast", "debug=null"], "override", "group"),
    # keys that nothing takes
    "unknown key, added": (["+latent_dims=3"], "latent_dims=3", "did you mean latent_dim?"),
    "unknown key, forced": (["++latent_dims=3"], "latent_dims=3", "did you mean latent_dim?"),
    "unknown key below a new one": (["+foo.bar=3"], "foo.bar=3", "there is no key foo"),
    "unknown key of no part": (["+evaluation.kk=3"], "evaluation.kk=3", "did you mean evaluation.k?"),
    "unknown key of a part in a part": (["+encoder.posterior.x=3"], "encoder.posterior.x=3", "write posterior.x"),
    "unknown callback": (["+callbacks.sample.rows=3"], "callbacks.sample", "did you mean callbacks.samples?"),
    "unknown key of Hydra": (["+hydra.run.dirr=3"], "hydra.run.dirr=3", "did you mean hydra.run.dir?"),
    "unknown key taken away": (["~latent_dims"], "~latent_dims", "did you mean latent_dim?"),
    "a key that the program fills": (["+scheduler.total_steps=9"], "scheduler.total_steps=9", "leave it out"),
    "a folder that the program fills": (["+logger.csv.save_dir=x"], "logger.csv.save_dir=x", "leave it out"),
    "another word for it": (["loss.beta=4"], "loss.beta=4", "did you mean loss.coeff?"),
    "another word for it, added": (["+loss.beta=4"], "loss.beta=4", "did you mean loss.coeff?"),
    "another word, without its part": (["epochs=4"], "epochs=4", "did you mean trainer.max_epochs?"),
    # a group without members
    **{
        f"nothing: {word}": ([word], word, f"use {word.lstrip('~').partition('=')[0]}=none")
        for word in ("~logger", "logger=[]", "logger=null", "logger={}", "~callbacks", "callbacks=[]", "~scheduler")
    },
    "a part that is needed, as null": (["prior=null"], "prior=null", "must be one of"),
    "a part that is needed, taken away": (["~prior"], "prior", "leave ~prior out"),
    "a value that is needed, taken away": (["~seed"], "seed", "leave ~seed out"),
    # words that Hydra cannot read
    "a list with a blank": (["hidden_dims=[300,", "300]"], "hidden_dims=[300, 300]", "write 'hidden_dims=[300,300]'"),
    "a bracket too few": (["hidden_dims=[300,300"], "hidden_dims=[300,300", "bracket"),
    "a sign of the grammar": (["prior.x=a=b"], "prior.x=a=b", "\"prior.x='a=b'\""),
    "a folder in two words": (["run_dir=two", "words"], "words", "write 'run_dir=two words'"),
    "several values in one run": (["hidden_dims=256,512"], "hidden_dims=256,512", "'hidden_dims=[256,512]'"),
    "an interval in one run": (["optimizer.lr=interval(1e-4,1e-2)"], "optimizer.lr", "sweep=search"),
    "overrides around an option": (["seed=1", "--config-dir", ".", "latent_dim=0"], "latent_dim=0", "must be"),
    "unknown option": (["--epochs", "3"], "--epochs", "key=value"),
    # configs
    "no such folder of configs": (["--config-dir", "nowhere"], "nowhere", "no such folder"),
    "other configs": (["--config-path", "."], "--config-path", "--config-dir FOLDER"),
    "no such config": (["--config-name", "other"], "--config-name other", "--config-dir FOLDER"),
    "no such run to repeat": (["again=nowhere"], "again=nowhere", "folder of a run"),
    "a file in the folder's place": (["hydra.run.dir=/dev/null/x"], "/dev/null/x", "hydra.run.dir=FOLDER"),
}


def as_a_process(*arguments: str) -> Answer:
    done = finish(start(*arguments, folder=Path.cwd()))
    return Answer(done.returncode, done.stdout, done.stderr)


# each as the program in this process, which spares seconds of imports, and the first few started by themselves too
@pytest.mark.parametrize(
    ("name", "start"), [*((name, call) for name in MISTAKES), *((name, as_a_process) for name in list(MISTAKES)[:4])]
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, monkeypatch, name, start):
    monkeypatch.chdir(tmp_path)
    overrides, names, remedy = MISTAKES[name]
    if name == "no GPU":
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
    answer = start(*overrides)
    assert answer.code == 2
    assert answer.out == ""
    (line,) = answer.err.splitlines()
    assert line.startswith("vae_lab: ")
    assert names in line
    assert remedy in line
    assert not list(tmp_path.rglob("*.*")), "something was left behind"


def test_a_loss_that_is_not_finite_ends_with_the_step_and_the_remedy(tmp_path):
    done = finish(start_warm("optimizer.lr=1e30", "trainer.accelerator=cpu", "hydra.run.dir=run", folder=tmp_path))
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "epoch 0, step 1: reconstruction and kl" in line
    assert "optimizer.lr" in line
    assert not (tmp_path / "run" / "metrics.json").exists()


@pytest.mark.parametrize("what", ["debug=fast", "experiment=estimator_check"])
def test_a_run_is_never_written_over(tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("precious: 1\n")
    answer = call("hydra.run.dir=.", what)
    assert answer.code == 2
    assert "holds a run already" in answer.err
    assert (tmp_path / "config.yaml").read_text() == "precious: 1\n"


def test_the_wheel_carries_conf_and_runs_from_an_empty_folder(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*build, str(REPOSITORY)], check=True, timeout=120)
    site = tmp_path / "site"
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    assert (site / "vae_lab" / "conf" / "config.yaml").is_file()
    empty = tmp_path / "empty"
    empty.mkdir()
    script = f"import sys; sys.path.insert(0, {str(site)!r}); import vae_lab.cli as c; print(c.CONF); c.main()"
    command = [sys.executable, "-c", script, "--cfg", "job"]
    done = subprocess.run(command, cwd=empty, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(site / "vae_lab" / "conf"))
    assert "latent_dim: 10" in done.stdout


def test_output_that_nobody_reads_on_is_no_mistake(tmp_path):
    process = start("--cfg", "job", folder=tmp_path)
    with process.stdout, process.stderr:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.wait(60) == 128 + signal.SIGPIPE
