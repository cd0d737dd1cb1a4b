"""The house keeps its order: imports point down only, and the package ships what it has."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

#: What each room may import from; every room may import itself.
BASE = {"errors", "lockfile", "tables", "layout", "seal", "recordfile"}
MAY = {
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
    "query": BASE | {"plots"},
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
        for name in ("cell_type", "lakes", "outdated", "publish", "session", "state")
    },
    "ingest": BASE
    | {"readers", "writers", "config", "executors", "query.catalog", "query.ccf", "query.known"},
}


def rooms():
    for path in sorted((ROOT / "maplake").rglob("*.py")):
        parts = path.relative_to(ROOT / "maplake").with_suffix("").parts
        if parts != ("__init__",):
            yield path, parts


def imports(path):
    """Names below maplake that a file imports, whether at the top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("maplake.") for name in names if name.startswith("maplake."))


@pytest.mark.parametrize(("path", "parts"), [pytest.param(*r, id="/".join(r[1])) for r in rooms()])
def test_imports_point_down(path, parts):
    room = parts[0]
    wrong = [
        name
        for name in imports(path)
        if name.split(".")[0] != room
        and not any(name == allowed or name.startswith(f"{allowed}.") for allowed in MAY[room])
    ]
    assert not wrong, f"{'/'.join(parts)} may not import {wrong}"


def test_readers_do_not_know_each_other():
    """A format's reader may share helpers, but never calls another format's reader."""
    formats = [p.stem for p, _ in rooms() if "READER = " in p.read_text(encoding="utf-8")]
    for path, parts in rooms():
        if parts[0] == "readers" and path.stem in formats:
            others = [
                n
                for n in imports(path)
                if n.split(".")[-1] in ("READER", "read")
                and n.split(".")[1] in formats
                and n.split(".")[1] != path.stem
            ]
            assert not others, f"{path.stem} imports {others}"


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
    for path, _ in rooms():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            assert not isinstance(node, ast.Assert), f"{path}:{node.lineno}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in ("print", "eval", "exec"), f"{path}:{node.lineno}"
