"""Which partitions must be computed: those without rows, and those whose inputs changed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from maplake.compute.model import Computation, Key
from maplake.errors import ConfigError
from maplake.ingest.outdated import input_hash
from maplake.ingest.session import IN
from maplake.ingest.state import SourceState, read_all, read_manifest, read_state, state_name
from maplake.layout import LAKE_NAME, PART, Layout, relative_glob
from maplake.query.catalog import definitions
from maplake.query.lake import Lake
from maplake.query.overview import manifest_files
from maplake.query.views import raw_name
from maplake.tables import Table
from maplake.tables.own import KIND

__all__ = [
    "Books",
    "Sources",
    "Task",
    "is_current",
    "orphans",
    "place_of",
    "state_key",
    "tasks",
]

Manifest = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Task:
    """One partition to be computed.

    Attributes
    ----------
    computation
        Name of the computation.
    key
        The partition.
    files
        Hash of every input by its place below the lake's root; empty where there is none.
    code
        Hash of what computes it.
    """

    computation: str
    key: Key
    files: dict[str, str] = field(hash=False)
    code: str

    @property
    def book(self) -> str:
        """Name of the state and manifest that its rows belong to."""
        return state_name(self.key.get("subject_id"), self.key.get("session"))


@dataclass
class Books:
    """States and manifests of a lake, read once."""

    states: dict[str, dict[tuple[str, str], SourceState]]
    manifests: dict[str, Manifest]

    @classmethod
    def read(cls, layout: Layout, only: Collection[str] | None = None) -> Books:
        """Read them all, or those of some sessions and those of the whole lake."""
        if only is not None:
            names = sorted({LAKE_NAME, *only})
            return cls(
                {name: read_state(layout, name) for name in names},
                {name: read_manifest(layout, name) for name in names},
            )
        found = manifest_files(layout.root)
        manifests: dict[str, Manifest] = {n: dict(f) for n, f in found.items()}
        return cls(read_all(layout), manifests)

    def of(self, key: Key, table: Table) -> Manifest:
        """Return the files among which an input of a partition is."""
        if "subject_id" not in table.partition:
            return self.manifests.get(LAKE_NAME, {})
        if "subject_id" in key:
            return self.manifests.get(state_name(key["subject_id"], key["session"]), {})
        return {path: entry for files in self.manifests.values() for path, entry in files.items()}


class Sources:
    """Which stored tables each table or view is made from.

    Parameters
    ----------
    lake
        The lake, with its catalog up to date.
    tables
        All its tables.
    """

    def __init__(self, lake: Lake, tables: Mapping[str, Table]) -> None:
        self._tables = tables
        self._stored = {raw_name(t): t for t in tables.values() if t.store.on_disk}
        self._text = definitions(lake.root)

    def of(self, computation: Computation) -> tuple[list[Table], str]:
        """Return the stored tables that a computation reads, and the views between as text.

        Raises
        ------
        ConfigError
            If an input does not exist, or the first one is not kept in files.
        """
        first = self._tables.get(computation.inputs[0])
        if first is None or not first.store.on_disk:
            raise ConfigError(
                f"the first input of {computation.name} must be a table that is kept in files",
                file=computation.file or None,
                found=computation.inputs[0],
                hint="It says which partitions there are: ephys.unit, experiment.session, …",
            )
        stored: dict[str, Table] = {}
        texts: dict[str, str] = {}
        for name in computation.inputs:
            if name not in self._tables and name not in self._text:
                raise ConfigError(
                    f"{computation.name} reads from {name!r}, which is no table of the lake",
                    file=computation.file or None,
                )
            self._follow(name, stored, texts)
        return list(stored.values()), "\n".join(texts[name] for name in sorted(texts))

    def _follow(self, name: str, stored: dict[str, Table], texts: dict[str, str]) -> None:
        table = self._stored.get(name) or self._tables.get(name)
        if name in self._stored or (table is not None and table.store.on_disk):
            if table is not None:
                stored[table.full_name] = table
            if name in self._stored:
                return
        if name in texts or name not in self._text:
            return
        texts[name] = self._text[name]
        for below in dict.fromkeys(_NAMES.findall(texts[name].replace('"', ""))):
            if below in self._text or below in self._stored:
                self._follow(below, stored, texts)


_NAMES = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")


def tasks(books: Books, computation: Computation, stored: Iterable[Table], code: str) -> list[Task]:
    """Return all partitions of a computation, current or not, in order.

    Parameters
    ----------
    books
        States and manifests.
    computation
        Whose.
    stored
        The tables that it reads.
    code
        Hash of what computes it.
    """
    inputs = [table for table in stored if table.full_name not in computation.constant]
    first = next(t for t in inputs if t.full_name == computation.inputs[0])
    found = []
    for key in sorted(_keys(books, computation, first), key=lambda k: tuple(k.values())):
        files = {}
        for table in inputs:
            place = place_of(table, key)
            files[place] = input_hash(books.of(key, table), place)
        found.append(Task(computation.name, key, files, code))
    return found


def _keys(books: Books, computation: Computation, first: Table) -> Iterator[Key]:
    levels = computation.levels
    prefix = relative_glob(first).split("*")[0].rsplit("/", 1)[0] + "/"
    seen = set()
    for files in books.manifests.values():
        for path in files:
            if not path.startswith(prefix):
                continue
            parts = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
            values = tuple(int(parts[name]) for name in levels if name in parts)
            if len(values) == len(levels) and values not in seen:
                seen.add(values)
                yield dict(zip(levels, values, strict=True))


def place_of(table: Table, key: Key) -> str:
    """Return the file of an input, or its folder where it has several files for a partition."""
    # Said for every input of every partition: made of text, not by way of paths.
    levels = [f"{name}={key[name]}" for name in takewhile(key.__contains__, table.partition)]
    last = PART if len(levels) == len(table.partition) else ""
    return "/".join(["tables", table.schema, table.name, *levels, last])


def state_key(computation: str, key: Key) -> tuple[str, str]:
    """Return kind and name of the state of a partition."""
    number = key.get("insertion_number")
    return (KIND, computation if number is None else f"{computation} {number}")


def is_current(task: Task, state: SourceState | None) -> bool:
    """Whether a partition's rows are what would be computed now."""
    return (
        state is not None
        and state.status == IN
        and state.settings == task.code
        and state.files == task.files
    )


def orphans(
    books: Books, computations: Collection[str], planned: Iterable[Task]
) -> dict[str, list[SourceState]]:
    """Return partitions of these computations that have nothing to be computed from."""
    wanted = {(task.book, *state_key(task.computation, task.key)) for task in planned}
    found: dict[str, list[SourceState]] = {}
    for book, states in books.states.items():
        for state in states.values():
            mine = state.kind == KIND and state.name.split(" ")[0] in computations
            if mine and (book, *state.key) not in wanted:
                found.setdefault(book, []).append(state)
    return found
