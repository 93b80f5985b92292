"""A project of a person's own: a package with a prior and an encoder, configs, a test, and vae_lab as a dependency.

The files are in ``template``, each with the name ``PACKAGE`` in the place of the project's.
"""

import importlib.util
import keyword
import re
import shutil
import sys
from pathlib import Path

from vae_lab.errors import UserError

TEMPLATE = Path(__file__).parent / "template"
NAME = "PACKAGE"
SUFFIX = ".template"  # so that no tool takes them for code of vae_lab
TAKEN = ("conf", "tests", "outputs", "vae_lab", "hydra_plugins")


def make(folder: Path) -> str:
    """Write a project that runs.

    Args:
        folder: its folder, new or empty; the name of the package is made of its name.

    Returns:
        The name of the package.

    Raises:
        UserError: if the folder is not empty, or its name cannot be that of a package.
    """
    package = package_name(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is a file; name a folder that is new or empty")
    if folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder}: is not empty, and no file is written over; name a folder that is new or empty")
    was_there = folder.exists()
    try:
        _write(folder, package)
    except OSError:
        for entry in folder.iterdir() if was_there else ():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not was_there:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return package


def package_name(folder: Path) -> str:
    """The name of the package of a project in a folder.

    Args:
        folder: folder of the project.

    Raises:
        UserError: if there is no such name, or Python knows another package of that name.

    >>> package_name(Path("somewhere/my-lab"))
    'my_lab'
    """
    name = folder.absolute().resolve().name
    package = re.sub(r"[-. ]", "_", name)
    remedy = "name the folder by letters, digits and _, such as mylab"
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", package) or keyword.iskeyword(package):
        raise UserError(f"{folder}: {name or 'this'} cannot be the name of a package; {remedy}")
    if package in TAKEN or package in sys.stdlib_module_names or _is_installed(package, folder):
        raise UserError(f"{folder}: another package is called {package} already; {remedy}")
    return package


def _is_installed(package: str, folder: Path) -> bool:
    """Whether Python finds a package of this name elsewhere than in the folder."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        return False
    places = [Path(place).resolve() for place in (spec.origin, *(spec.submodule_search_locations or ())) if place]
    return not any(place.is_relative_to(folder.absolute().resolve()) for place in places)


def _write(folder: Path, package: str) -> None:
    for source in sorted(TEMPLATE.rglob(f"*{SUFFIX}")):
        file = folder / str(source.relative_to(TEMPLATE)).replace(NAME, package).removesuffix(SUFFIX)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source.read_text(encoding="utf-8").replace(NAME, package), encoding="utf-8")
