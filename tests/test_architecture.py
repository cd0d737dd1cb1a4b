"""The house keeps its order: imports point down only, and the package ships what it has."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from graphlib import TopologicalSorter
from importlib.util import resolve_name
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = {"maplake": ROOT / "maplake", "maplake_cli": ROOT / "cli"}

#: What each room may import from; every room may import itself.
BASE = {"version", "errors", "lockfile", "tables", "layout", "seal", "recordfile"}
MAY = {
    "version": set(),
    "errors": set(),
    "lockfile": set(),
    "seal": set(),
    "recordfile": {"layout"},
    "tables": {"errors"},
    "layout": {"tables"},
    "executors": {"errors", "cluster"},
    "cluster": {"errors"},
    "readers": {"errors", "tables"},
    "config": {"errors", "tables", "readers.base"},
    "writers": BASE,
    "query": BASE,
    "plots": BASE | {"query"},
    "simulate": {"errors"},
    "watch": BASE | {"writers", "config", "compute.run", "ingest"},
    "publication": BASE | {"config", "ingest", "readers.dlc_files"},
    "exports": BASE | {"writers", "query"},
    "reports": BASE | {"writers.files", "query", "plots", "executors"},
    "compute": BASE
    | {"writers", "query", "config", "executors"}
    | {
        f"ingest.{name}"
        for name in ("cache", "cell_type", "lakes", "outdated", "publish", "session", "state")
    },
    "ingest": BASE
    | {"readers", "writers", "config", "executors", "query.catalog", "query.ccf", "query.known"},
    # `maplake.open`, the front door, and the command line.
    "maplake": BASE | {"query", "writers", "ingest.snapshot"},
    "maplake_cli": {"errors", "layout", "config", "executors", "ingest", "query", "simulate"}
    | {"maplake", "compute", "exports", "plots", "publication", "reports", "watch"},
}


@cache
def modules():
    """The files of all modules, by the modules' names."""
    found = {}
    for package, folder in PACKAGES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


@cache
def imported(module):
    """Full names of what a module imports: at the top, inside functions, and for types only."""
    path = modules()[module]
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package)
            names |= {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def imports(module):
    """The modules of ours among it."""
    either = ((name, name.rpartition(".")[0]) for name in imported(module))
    found = {next((name for name in pair if name in modules()), None) for pair in either}
    return found - {None, module}


def room(module):
    package, _, inner = module.partition(".")
    return inner.split(".")[0] if package == "maplake" and inner else package


@pytest.mark.parametrize("module", modules())
def test_imports_point_down(module):
    here = room(module)
    allowed = {"maplake" if name == "maplake" else f"maplake.{name}" for name in MAY[here]}
    wrong = [
        name
        for name in imports(module)
        if room(name) != here
        and name not in allowed
        and not any(name.startswith(f"{one}.") for one in allowed - {"maplake"})
    ]
    assert not wrong, f"{module} may not import {wrong}"


def test_there_is_a_down():
    """What may import what goes round nowhere."""
    below = {one: {name.split(".")[0] for name in names} for one, names in MAY.items()}
    TopologicalSorter(below).prepare()


def test_no_modules_import_each_other():
    """Nor do modules of one room, by however many others."""
    TopologicalSorter({module: imports(module) for module in modules()}).prepare()


def test_readers_do_not_know_each_other():
    """A format's reader may share helpers, but never calls another format's reader."""
    formats = {
        module
        for module, path in modules().items()
        if room(module) == "readers" and "READER = " in path.read_text(encoding="utf-8")
    }
    assert len(formats) > 10
    for module in formats:
        readers = {f"{other}.{name}" for other in formats - {module} for name in ("READER", "read")}
        assert not imported(module) & readers, module


def test_every_package_is_shipped():
    """The list of packages in pyproject.toml is explicit, so it can be stale."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    listed = set(settings["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "maplake").rglob("__init__.py")
    }
    assert listed - {"maplake_cli"} == found


def test_no_library_code_prints_or_asserts():
    for path in PACKAGES["maplake"].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "eval", "exec"), f"{path}:{node.lineno}"
