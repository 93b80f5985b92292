"""What the documents name is there."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


def test_theory_names_code_and_tests_that_exist():
    text = (REPOSITORY / "docs" / "theory.md").read_text()
    tests = "".join(file.name + file.read_text() for file in REPOSITORY.glob("tests/test_*.py"))
    code = {file: file.read_text() for file in (REPOSITORY / "src" / "vae_lab").rglob("*.py")}
    named = set(re.findall(r"test_\w+", text))
    assert len(named) > 20
    assert not {name for name in named if name not in tests}
    for module, name in set(re.findall(r"`(\w+)\.(\w+)(?:\.\w+)?`", text)):
        if module != "torch" and name != "py":
            sources = [source for file, source in code.items() if module in (file.stem, file.parent.name)]
            sources += [file.read_text() for file in REPOSITORY.glob(f"conf/{module}/*.yaml")]  # a key of a config
            assert any(name in source for source in sources), f"{module}.{name}"


DOCUMENTS = [
    "README.md",
    "SECURITY.md",
    *sorted(str(f.relative_to(REPOSITORY)) for f in REPOSITORY.glob("docs/**/*.md")),
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_and_pictures_lead_somewhere(document):
    file = REPOSITORY / document
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text()):
        assert (file.parent / target).exists(), target


def test_every_recipe_has_its_row():
    rows = (REPOSITORY / "docs" / "results.md").read_text()
    for recipe in (REPOSITORY / "conf" / "experiment").glob("*.yaml"):
        assert f"experiment={recipe.stem}" in rows
