"""The course: each command is one that the program takes, each link leads somewhere, each notebook runs."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import pytest

from vae_lab.config.check import check
from vae_lab.paths import CONF

REPOSITORY = Path(__file__).resolve().parents[1]
COURSE = REPOSITORY / "docs" / "course"
PAGES, NOTEBOOKS = sorted(COURSE.glob("[1-4]*.md")), sorted(COURSE.glob("*.ipynb"))


def commands(page: Path) -> list[list[str]]:
    """The arguments of the commands on a page."""
    lines = [line for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S) for line in block.splitlines()]
    return [shlex.split(line.replace("…", "there"))[3:] for line in lines if line.startswith("python -m vae_lab")]


def first_of_each(word: str) -> str:
    """A word of a multirun with the first of its values."""
    key, _, values = word.partition("=")
    return f"{key}={re.split(r',(?![^[]*])', values)[0]}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_command_is_one_that_the_program_takes(page):
    found = commands(page)
    assert len(found) >= 5
    for words in found:
        for sweep in (word for word in words if word.startswith("sweep=")):
            assert (CONF / "sweep" / f"{sweep.partition('=')[2]}.yaml").is_file()
        overrides = [first_of_each(word) for word in words if not word.startswith(("-", "sweep="))]
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            check(hydra.compose("config", overrides))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_sections_that_a_page_names_are_in_the_theory(page):
    titles = re.findall(r"^## (.*)$", (REPOSITORY / "docs" / "theory.md").read_text(), re.M)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    named = set(re.findall(r"theory\.md#([\w-]+)", page.read_text()))
    assert named
    assert named <= anchors


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebooks_hold_no_outputs_and_compile(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) > 4
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        compile("".join(cell["source"]), notebook.name, "exec")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_has_the_title_of_its_page_above_its_sections(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    first, *others = (line for cell in cells for line in cell["source"] if cell["cell_type"] == "markdown")
    page = notebook.with_suffix(".md").read_text()
    title = re.match(r"# Sheet \d: (.*)\n", page)[1]
    assert first.strip().lower() == f"# {title}".lower()
    headings = [line for line in others if line.startswith("#")]
    assert headings
    assert all(line.startswith("## ") for line in headings)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_notebooks_run_from_start_to_end(notebook, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    book = nbformat.read(notebook, as_version=4)
    client = nbclient.NotebookClient(book, timeout=1800, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "stream" and "Warning" in output.text]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2


def test_the_documentation_is_built_without_warnings(tmp_path):
    pytest.importorskip("zensical")
    for name in ("docs", "zensical.toml"):
        copy = shutil.copytree if (REPOSITORY / name).is_dir() else shutil.copy
        copy(REPOSITORY / name, tmp_path / name)
    build = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    done = subprocess.run(build, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    page = (tmp_path / "site" / "course" / "1_estimators" / "index.html").read_text()
    assert "<math" in page
    for name in ("formulas.css", "formulas.js"):  # fonts that have sizes for formulas; the spaces beside log and det
        assert f"assets/{name}" in page
        assert (tmp_path / "site" / "assets" / name).is_file()
