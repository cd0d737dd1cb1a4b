"""What the lake knows of its sources, in short: the gist of a thousand state files in a few.

The gist of a state file counts only while the file has the time, size and number that it had when
it was read; all others are read anew. What the gist leaves out is read when somebody asks for it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from maplake.ingest import cache
from maplake.ingest.state import SourceState, parse_state
from maplake.layout import Layout, is_record

__all__ = ["read_index"]

State = dict[tuple[str, str], SourceState]
Stamp = tuple[int, int, int]

#: What the gist has of a source, in this order; then its number of rows and the print of its files.
_KEPT = (
    *("kind", "name", "status", "reason", "subject_id", "session", "insertion_number"),
    *("reader", "reader_version", "settings", "fingerprint", "depends", "path", "h2o", "start"),
    *("time", "readers", "skipped"),
)
_LEFT_OUT = ("stat", "files", "outputs", "rows")
_MADE_FROM = f"1 {_KEPT}"
_NAMES = (*_KEPT, "_row_count", "_stat_print", "_file")


class Gist(SourceState):
    """A source whose long parts are read from its state file when they are asked for."""

    _file: str
    _row_count: int
    _stat_print: str

    @classmethod
    def made(cls, file: str, values: list[Any]) -> Gist:
        """Make one from what :func:`_gist` gave."""
        gist = cls.__new__(cls)
        # There are tens of thousands: the dict is made at once, not filled.
        gist.__dict__ = dict(zip(_NAMES, (*values, file), strict=True))
        return gist

    @property
    def row_count(self) -> int:
        """Number of rows of all tables."""
        return super().row_count if "rows" in vars(self) else self._row_count

    @property
    def stat_print(self) -> str:
        """Hash over names, sizes and times of its files."""
        return super().stat_print if "stat" in vars(self) else self._stat_print

    def __getattr__(self, name: str) -> Any:
        """Read what was left out; of a source that has gone meanwhile, there is nothing."""
        if name not in _LEFT_OUT:
            raise AttributeError(name)
        nothing = SourceState(self.kind, self.name, self.status)
        whole = parse_state(Path(self._file)).get(self.key, nothing)
        vars(self).update({part: getattr(whole, part) for part in _LEFT_OUT})
        return vars(self)[name]


def _gist(state: SourceState) -> list[Any]:
    values = vars(state)
    return [*(values[name] for name in _KEPT), state.row_count, state.stat_print]


#: The gists of state files by path, with their stamps then.
_LAST: dict[str, tuple[Stamp, State]] = {}


def read_index(layout: Layout) -> dict[str, State]:
    """Return every state file's sources by the file's name, to be looked at only.

    Raises
    ------
    IntegrityError
        If a state file is damaged.
    """
    stamps = _stamps(layout.meta / "state")
    outdated = {_animal(path) for path, stamp in stamps.items() if not _is_known(path, stamp)}
    if outdated:
        of_animal: dict[str, list[str]] = {}
        for path in stamps:
            of_animal.setdefault(_animal(path), []).append(path)
        for animal in outdated:
            _read_animal(layout, animal, {path: stamps[path] for path in of_animal[animal]})
    return {_name(path): _LAST[path][1] for path in stamps}


def _stamps(folder: Path) -> dict[str, Stamp]:
    try:
        with os.scandir(folder) as entries:
            found = [(e.path, e.stat()) for e in entries if is_record(e.name)]
    except FileNotFoundError:
        return {}
    found.sort(key=lambda one: one[0])
    return {path: (i.st_mtime_ns, i.st_size, i.st_ino) for path, i in found}


def _name(path: str) -> str:
    return os.path.basename(path).removesuffix(".json")  # noqa: PTH119 - a thousand, in no time


def _animal(path: str) -> str:
    return _name(path).partition("_")[0]


def _is_known(path: str, stamp: Stamp) -> bool:
    return path in _LAST and _LAST[path][0] == stamp


def _read_animal(layout: Layout, animal: str, stamps: dict[str, Stamp]) -> None:
    """Read the state files of an animal, or their gist where they are as they were."""
    file = f"states/{animal}.json"
    known = cache.load(layout, file, _MADE_FROM) or {}
    is_new = False
    for path, stamp in stamps.items():
        gists = known.get(_name(path), [])
        if tuple(gists[:3]) != stamp:
            is_new = True
            gists = [*stamp, *map(_gist, parse_state(Path(path)).values())]
            known[_name(path)] = gists
        if not _is_known(path, stamp):
            states = (Gist.made(path, gist) for gist in gists[3:])
            _LAST[path] = (stamp, {state.key: state for state in states})
    if is_new:
        there = {_name(path) for path in stamps}
        cache.save(layout, file, _MADE_FROM, {n: k for n, k in known.items() if n in there})
