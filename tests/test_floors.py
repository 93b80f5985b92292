"""Imports run downwards only: each file of the package is checked against the floors, between and within folders."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src" / "vae_lab"
# from the bottom to the top; rooms of one floor do not import each other
FLOORS = [
    ["errors", "paths", "annotations"],
    ["files", "randomness", "recorded"],
    ["distributions"],
    ["networks"],
    ["likelihoods", "posteriors"],
    ["encoders", "decoders", "discriminators", "priors", "inference"],
    ["models"],
    ["losses"],
    ["data"],
    ["evaluation"],
    ["figures"],
    ["exploring"],
    ["training"],
    ["runs"],
    ["config"],
    ["tasks"],
    ["sweeps"],
    ["new"],
    ["arguments"],
    ["complaints"],
    ["cli"],
    ["api"],
    ["__main__"],
]
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
LIGHT = ("cli", "arguments", "complaints", "errors", "paths", "files.atomic", "files.checks", "runs", "config.settings")
LIGHT += ("config.keys", "config.trust", "config.again", "sweeps.folders")
HEAVY = ("torch", "lightning", "torchvision", "matplotlib", "torchmetrics", "sklearn", "scipy", "optuna")


def name_of(file: Path) -> str:
    """The module of a file below vae_lab: ``models.vae``; of a folder its own name."""
    name = ".".join(file.relative_to(SRC).with_suffix("").parts)
    return "" if name == "__init__" else name.removesuffix(".__init__")


MODULES = {name_of(file): file for file in SRC.rglob("*.py")}


def imports(file: Path, late: bool = True) -> set[str]:
    """The modules that a file imports; without ``late`` only when it is imported itself."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        for child in ast.iter_child_nodes(node):
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            is_checking = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            if not late and (is_function or is_checking):
                continue
            if isinstance(child, ast.Import):
                found.update(alias.name for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                found.add(str(child.module))
                found.update(f"{child.module}.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse(file.read_text()))
    return found


def inside(file: Path, late: bool = True) -> set[str]:
    """The modules of vae_lab that a file imports, by their names below it."""
    names = {name.removeprefix("vae_lab.") for name in imports(file, late) if name.startswith("vae_lab.")}
    return {name for name in names if name in MODULES}


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_room_has_its_floor():
    assert {room(name) for name in MODULES if name} == set(FLOOR_OF)


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name))
def test_a_file_imports_from_lower_floors_only(module):
    above = {
        name
        for name in inside(MODULES[module])
        if room(name) != room(module) and FLOOR_OF[room(name)] >= FLOOR_OF[room(module)]
    }
    assert not above, f"{module} is below or beside {above}"


def test_no_files_import_each_other():
    graph = {name: inside(file) for name, file in MODULES.items()}
    # a folder's __init__ offers what is in it, which is no import of the folder by its own files
    graph = {
        name: {other for other in others if other != name and not name.startswith(f"{other}.")}
        for name, others in graph.items()
    }

    def reaches(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += graph[name]
        return seen

    assert not [name for name in graph if name in reaches(name)]


@pytest.mark.parametrize("module", sorted(name for name in MODULES if name.startswith(LIGHT)))
def test_what_the_command_line_imports_is_light(module):
    def heavy(name: str, seen: frozenset[str] = frozenset()) -> set[str]:
        file = MODULES[name]
        own = {found for found in imports(file, late=False) if found.partition(".")[0] in HEAVY}
        below = (heavy(other, seen | {name}) for other in inside(file, late=False) - seen - {name})
        return own.union(*below)

    assert not heavy(module)


def test_a_part_or_a_model_knows_no_lightning_and_no_hydra():
    for name, file in MODULES.items():
        if FLOOR_OF.get(room(name), 0) <= FLOOR_OF["losses"] and name:
            assert not {
                found for found in imports(file) if found.partition(".")[0] in ("lightning", "hydra", "omegaconf")
            }
