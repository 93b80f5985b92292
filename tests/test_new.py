"""`python -m vae_lab.new FOLDER` makes a project that runs, and writes over nothing."""

import runpy
import subprocess
import sys
import tomllib

import pytest

import vae_lab
from helpers import TINY, call
from vae_lab.errors import UserError
from vae_lab.new import make


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A new project, in the current folder and on Python's path."""
    assert make(tmp_path / "my-lab") == "my_lab"
    monkeypatch.chdir(tmp_path / "my-lab")
    monkeypatch.syspath_prepend(str(tmp_path / "my-lab"))
    yield tmp_path / "my-lab"
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_lab"]:
        del sys.modules[name]


def new(monkeypatch, capsys, *words):
    """What the command answers: exit code, output, errors."""
    monkeypatch.setattr(sys, "argv", ["new", *map(str, words)])
    code = 0
    try:
        runpy.run_module("vae_lab.new", run_name="__main__")
    except SystemExit as end:
        code = end.code
    return code, *capsys.readouterr()


@pytest.mark.usefixtures("small_files")
def test_the_recipe_of_a_new_project_runs_and_its_model_loads(project):
    overrides = [word for word in TINY if not word.startswith(("latent_dim", "hidden_dims"))]
    words = ("--config-dir", "conf", "experiment=first", "debug=fast", "encoder.width=8", "hydra.run.dir=run")
    answer = call(*words, *overrides)
    assert answer.code == 0, answer.err
    model = vae_lab.load(project / "run", trust=["my_lab"])
    assert type(model.prior).__module__ == "my_lab.priors"
    assert call("--config-dir", "conf", "experiment=first", "prior.scale=0").code == 2
    answer = call("--config-dir", "conf", "--help")
    assert "prior: " in answer.out
    assert "laplace" in answer.out
    assert "pooled" in answer.out
    assert "first" in answer.out


def test_the_tests_of_a_new_project_pass(project):
    tests = runpy.run_path(str(project / "tests" / "test_parts.py"))
    found = [test for name, test in tests.items() if name.startswith("test_")]
    assert len(found) == 3
    for test in found:
        test()


def test_a_new_project_is_clean_and_names_itself(project):
    check = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "."]
    done = subprocess.run(check, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    files = [file for file in project.rglob("*") if file.is_file()]
    assert not [file for file in files if "PACKAGE" in file.read_text() or "PACKAGE" in str(file)]
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    assert settings["project"]["name"] == "my_lab"
    assert settings["project"]["dependencies"] == ["vae_lab"]
    assert len((project / "README.md").read_text().splitlines()) < 60


def test_the_command_says_how_the_project_is_used(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    code, out, err = new(monkeypatch, capsys, tmp_path / "empty")
    assert (code, err) == (0, "")
    assert f"cd {tmp_path}/empty\npython -m vae_lab --config-dir conf experiment=first" in out
    assert (tmp_path / "empty" / "empty" / "priors.py").is_file()
    assert new(monkeypatch, capsys, "--help")[0] == 0


MISTAKES = {
    "no folder": ((), "vae_lab.new: python -m vae_lab.new FOLDER"),
    "two folders": (("a", "b"), "FOLDER"),
    "an option": (("--force",), "FOLDER"),
    "not empty": (("full",), "full: is not empty"),
    "a file": (("file",), "file: is a file"),
    "below a file": (("file/mylab",), "Not a directory"),
    "no identifier": (("1st",), "1st cannot be the name of a package"),
    "a keyword": (("class",), "class cannot be the name of a package"),
    "letters that no index takes": (("ünser",), "ünser cannot be the name of a package"),
    "of Python": (("json",), "another package is called json already"),
    "installed": (("torch",), "another package is called torch already"),
    "ours": (("vae-lab",), "another package is called vae_lab already"),
    "a folder of the project": (("tests",), "another package is called tests already"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, capsys, name):
    words, says = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    code, out, err = new(monkeypatch, capsys, *words)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("vae_lab.new: ")
    assert says in line
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "full", "notes.txt"]


def test_a_project_that_cannot_be_written_leaves_nothing(tmp_path, monkeypatch):
    from pathlib import Path

    write, count = Path.write_text, iter(range(3))

    def full(self, *arguments, **options):
        if next(count, None) is None:
            raise OSError(28, "No space left on device", str(self))
        return write(self, *arguments, **options)

    monkeypatch.setattr(Path, "write_text", full)
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "fresh", tmp_path / "empty"):
        count = iter(range(3))
        with pytest.raises(OSError, match="No space"):
            make(folder)
    assert list(tmp_path.rglob("*")) == [tmp_path / "empty"]


def test_a_folder_without_a_name_is_refused():
    from pathlib import Path

    with pytest.raises(UserError, match="cannot be the name"):
        make(Path("/"))
