"""Fingerprints: what a page or a figure is made from, without reading it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from maplake.layout import LAKE_NAME, RECORDS, Layout, session_name
from maplake.plots import FIGURES
from maplake.plots.lookup import Key, rows
from maplake.plots.registry import LOOKS
from maplake.reports.facts import TABLES
from maplake.reports.model import VERSION
from maplake.tables import get
from maplake.version import version

if TYPE_CHECKING:
    from maplake.query.lake import Lake

#: The one table for the whole lake of which each animal sees its own rows only, so that a new
#: animal changes nothing of the others.
_BY_ANIMAL = "lab.water_restriction"
_ARRAYS = "arrays/ephys"
_ARRAYS_FOLDER = f"{_ARRAYS}/"


class Prints:
    """The manifests of a lake as they are when it is made.

    Parameters
    ----------
    lake
        The lake.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._raw = {
            path.stem: path.read_bytes()
            for path in sorted((Layout(lake.root).meta / "manifest").glob(RECORDS))
        }
        self._parsed: dict[str, Mapping[str, Any]] = {}
        self._code = [version(), VERSION, LOOKS]
        self._pages = [self._code, sorted(FIGURES), _sources()]

    @cached_property
    def all(self) -> str:
        """What changes with anything in the lake."""
        return _hash([self._pages, {name: _digest(raw) for name, raw in self._raw.items()}])

    def session(self, subject_id: int, session: int) -> str:
        """Return what changes with anything that a session's report shows."""
        raw = self._raw.get(session_name(subject_id, session), b"")
        return _hash([self._pages, _digest(raw), self._shared, self._animals.get(subject_id)])

    def figure(self, name: str, key: Key) -> str:
        """Return what changes when a figure may look other than before."""
        return self.files([name, str(key)], FIGURES[name].tables, key)

    def files(self, about: object, tables: Iterable[str], key: Key) -> str:
        """Return a hash of the files of some tables that belong to a key."""
        folders = tuple(_folder(name) for name in tables if name != _BY_ANIMAL)
        parts = [
            (path, facts["sha256"])
            for name in self._names(key)
            for path, facts in self._manifest(name).items()
            if path.startswith(folders) and _belongs(path, key)
        ]
        animals = self._animals if key.subject_id is None else self._animals.get(key.subject_id)
        return _hash([self._code, about, sorted(parts), animals])

    @cached_property
    def _shared(self) -> str:
        """A hash of the files of the whole lake that reports read."""
        names = {*TABLES, *(name for one in FIGURES.values() for name in one.tables)}
        folders = tuple(_folder(name) for name in sorted(names - {_BY_ANIMAL}))
        found = self._manifest(LAKE_NAME).items()
        return _hash(sorted((p, f["sha256"]) for p, f in found if p.startswith(folders)))

    @cached_property
    def _animals(self) -> dict[int, str]:
        found = rows(self._lake, "SELECT subject_id, t::VARCHAR FROM lab.water_restriction AS t")
        return {int(subject): str(row) for subject, row in found.rows()}

    def _names(self, key: Key) -> Iterator[str]:
        if key.subject_id is None or key.session is None:
            yield from self._raw
        else:
            yield from (LAKE_NAME, session_name(key.subject_id, key.session))

    def _manifest(self, name: str) -> Mapping[str, Any]:
        if name not in self._parsed:
            self._parsed[name] = json.loads(self._raw.get(name, b'{"files": {}}'))["files"]
        return self._parsed[name]


def _folder(name: str) -> str:
    if name == _ARRAYS:
        return _ARRAYS_FOLDER
    table = get(name)
    return f"tables/{table.schema}/{table.name}/"


def _belongs(path: str, key: Key) -> bool:
    wanted = key.insertion_number
    return wanted is None or "/insertion_number=" not in path or (
        f"/insertion_number={wanted}/" in path
    )  # fmt: skip


def _sources() -> str:
    """Return a hash of the code that makes pages: they cost little, figures do not."""
    folder = files("maplake.reports")
    parts = [*folder.iterdir(), *folder.joinpath("assets").iterdir()]
    texts = {part.name: part.read_bytes() for part in parts if part.is_file()}
    return _digest(b"".join(texts[name] for name in sorted(texts)))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _hash(value: object) -> str:
    return _digest(json.dumps(value, default=str).encode())[:24]
