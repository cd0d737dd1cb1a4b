"""Which computations there are: maplake's, those of installed packages, and the lab's own."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from maplake.compute import foraging, jaw, selectivity, shanks, slices, units
from maplake.compute.model import Computation
from maplake.compute.modules import GROUP, modules_of
from maplake.config import Config
from maplake.errors import ConfigError, NotFoundError, SchemaError
from maplake.query.known import tables_of
from maplake.tables import SCHEMAS, TABLES, Table, own

__all__ = ["GROUP", "built_in", "dependants", "find", "levels", "load", "own_tables"]

_BUILT_IN = (
    *units.COMPUTATIONS,
    *selectivity.COMPUTATIONS,
    *shanks.COMPUTATIONS,
    *slices.COMPUTATIONS,
    *jaw.COMPUTATIONS,
    *foraging.COMPUTATIONS,
)


def built_in() -> dict[str, Computation]:
    """Return maplake's own computations by name, each after those that it reads from."""
    return _ordered({c.name: c for c in _BUILT_IN})


def load(config: Config) -> dict[str, Computation]:
    """Return all computations by name, each after those that it reads from.

    The modules of :func:`modules_of` are run: they are the lab's own code.

    Raises
    ------
    ConfigError
        If a module cannot be run or declares what cannot be; the message names the file.
    """
    found = {c.name: c for c in _BUILT_IN}
    for computation in _foreign(config):
        _check(computation, found)
        found[computation.name] = computation
    return _ordered(found)


def _foreign(config: Config) -> Iterator[Computation]:
    for path in modules_of(config):
        yield from _in_module(_run(path), path)
    for point in entry_points(group=GROUP):
        try:
            module = point.load()
        except Exception as error:
            raise ConfigError(
                f"the package of the entry point {point.name!r} cannot be loaded: {error}",
                place=f"entry point {GROUP}",
            ) from error
        yield from _in_module(module, Path(getattr(module, "__file__", None) or point.value))


def _run(path: Path) -> ModuleType:
    """Run a file as a module of its own name, the same in every process."""
    if not path.is_file():
        raise ConfigError(
            "there is no such module of tables", file=path, hint="Correct [tables] modules."
        )
    tag = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"maplake_own_{tag}_{path.stem}"
    loader = _FromSource(name, str(path))
    spec = importlib.util.spec_from_file_location(name, path, loader=loader)
    if spec is None or path.suffix != ".py":
        raise ConfigError("is no Python file", file=path, expected="a name that ends with .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(
            f"the module of tables cannot be run: {type(error).__name__}: {error}",
            file=path,
            place=line_of(error, path),
        ) from error
    return module


class _FromSource(SourceFileLoader):
    """Runs what a file says now.

    Compiled code beside it counts while the file has the same size and whole second of change: what
    was edited in between would not be run, and bytes that nobody can read would be.
    """

    def get_code(self, fullname: str) -> CodeType:
        """Compile the file."""
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def line_of(error: BaseException, path: str | Path) -> str | None:
    """Return the line of a file that an error came from, if it did."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f"line {lines[-1]}" if lines else None


def _in_module(module: Any, path: Path) -> Iterator[Computation]:
    names = vars(module) if isinstance(module, ModuleType) else {"": module}
    for value in names.values():
        if isinstance(value, Computation):
            yield replace(value, sql=_sql(value, path), file=str(path))


def _sql(computation: Computation, path: Path) -> str:
    if not isinstance(computation.sql, Path):
        return computation.sql
    file = path.parent / computation.sql
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"the query of {computation.name} cannot be read: {error}", file=file
        ) from error


def _check(computation: Computation, known: Mapping[str, Computation]) -> None:
    try:
        for table in computation.tables:
            own.check_own(table, SCHEMAS)
    except SchemaError as error:
        raise ConfigError(
            error.message,
            file=computation.file,
            found=error.found,
            expected=error.expected,
            hint=error.hint,
        ) from error
    if computation.name in known:
        raise ConfigError(
            f"the table {computation.name} is declared twice",
            file=computation.file,
            found=known[computation.name].file,
        )
    if not computation.inputs:
        raise ConfigError(f"{computation.name} has no inputs", file=computation.file)


def _ordered(found: Mapping[str, Computation]) -> dict[str, Computation]:
    """Return computations with those that others read from first.

    Raises
    ------
    ConfigError
        If computations read from each other in a circle.
    """
    made = {t.full_name: c.name for c in found.values() for t in c.tables}
    done: dict[str, Computation] = {}
    while len(done) < len(found):
        ready = [
            c
            for c in found.values()
            if c.name not in done
            and all(made.get(i, c.name) in done or i not in made for i in c.inputs)
        ]
        if not ready:
            circle = sorted(set(found) - set(done))
            raise ConfigError(f"tables are computed from each other: {', '.join(circle)}")
        done |= {c.name: c for c in ready}
    return done


def levels(found: Mapping[str, Computation]) -> list[list[Computation]]:
    """Return computations in steps: each reads only from tables of the steps before it."""
    made = {t.full_name: c.name for c in found.values() for t in c.tables}
    depth: dict[str, int] = {}
    for c in found.values():
        below = [depth[made[i]] for i in c.inputs if i in made and made[i] in depth]
        depth[c.name] = max(below, default=-1) + 1
    return [
        [c for c in found.values() if depth[c.name] == step]
        for step in range(max(depth.values(), default=-1) + 1)
    ]


def find(found: Mapping[str, Computation], names: Iterable[str]) -> dict[str, Computation]:
    """Return the computations of tables and what they are computed from; without names, all.

    Raises
    ------
    NotFoundError
        If a name is of no computed table.
    """
    made = {t.full_name: c for c in found.values() for t in c.tables}
    wanted, queue = set[str](), list(names)
    if not queue:
        return dict(found)
    for name in queue:
        if name not in made:
            raise NotFoundError(
                f"{name!r} is no computed table", expected=", ".join(sorted(made)) or "none"
            )
    while queue:
        computation = made[queue.pop()]
        wanted.add(computation.name)
        queue += [i for i in computation.inputs if i in made and made[i].name not in wanted]
    return {name: c for name, c in found.items() if name in wanted}


def dependants(found: Mapping[str, Computation], name: str) -> list[str]:
    """Return a computation and all that read from its tables, by name."""
    result = [name]
    for computation in found.values():  # in order: what is read from comes first
        made = {t.full_name for n in result if n in found for t in found[n].tables}
        if computation.name not in result and made & set(computation.inputs):
            result.append(computation.name)
    return result


def own_tables(found: Mapping[str, Computation]) -> dict[str, Table]:
    """Return the declarations that are not maplake's own."""
    return {t.full_name: t for c in found.values() for t in c.tables if t.full_name not in TABLES}


def known_tables(root: Path, found: Mapping[str, Computation]) -> dict[str, Table]:
    """Return all tables that computations may read."""
    return tables_of(root) | own_tables(found)
