"""What was found below the roots before, so that only what changed is searched again.

Searching a folder means asking every reader. Here its files' names, sizes and times are compared
with those of the last search; where nothing differs, the sources found then are taken. What is
remembered is no part of the lake: without it, or where it is damaged, everything is searched.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import date
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from stat import S_ISREG
from typing import Any

from maplake import readers
from maplake.errors import MaplakeError
from maplake.ingest import cache
from maplake.ingest.sources import Found, Part, Source, folders
from maplake.ingest.state import print_of, stat_files
from maplake.layout import Layout
from maplake.readers import listing
from maplake.readers.base import Edition
from maplake.writers import files

__all__ = ["File", "Folder", "Seen"]

_FILE = "found.json"
#: What came since; only when it is a larger part of the whole is that written anew.
_SINCE = "found_since.json"
_MANY, _PART = 64, 8

#: Path below a folder, size and time of change (ns) of each file, sorted.
Listing = list[str]
#: What was remembered of the parts of a source: kind, reader and paths below a folder.
PartRecord = tuple[str, str, list[str]]
Search = Callable[["Folder", Found], None]


@dataclass(frozen=True)
class Folder:
    """A session's folder of recordings or of tracking, below one of the roots.

    ``nth`` says which of the day's sessions it is, ``rig`` whose root it lies below, where they
    are known.
    """

    root: Path
    path: Path
    h2o: str
    day: date
    nth: int | None = None
    rig: str = ""

    @property
    def name(self) -> str:
        """Path below the root."""
        return self.path.relative_to(self.root).as_posix()


@dataclass(frozen=True, slots=True)
class File:
    """A file as the system lists it: path, size (bytes) and time of change (ns)."""

    path: str
    size: int
    mtime_ns: int

    @classmethod
    def listed(cls, entry: os.DirEntry[str]) -> File | None:
        """Return a listed file; None for what is no plain file or cannot be looked at."""
        try:
            info = entry.stat()
        except OSError:
            return None
        plain = S_ISREG(info.st_mode)
        return cls(entry.path, info.st_size, info.st_mtime_ns) if plain else None

    @property
    def stat(self) -> list[Any]:
        """The same as :func:`maplake.ingest.state.stat_files` tells of it."""
        return [self.path, self.size, self.mtime_ns]


class Seen:
    """What lies below the roots in one run, and what was found there before.

    Parameters
    ----------
    layout
        The lake.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._readers = _readers_print()
        known = cache.load(layout, _FILE, self._readers) or {}
        self._id: str = known.get("id", "")
        since = cache.load(layout, _SINCE, self._readers + self._id) or {}
        self._since = {name: set(since.get(name, ())) for name in ("folders", "files")}
        self._known: dict[str, dict[str, Any]] = known.get("folders", {}) | since.get("folders", {})
        self._known_files: dict[str, list[Any]] = known.get("files", {}) | since.get("files", {})
        self._editions: list[Any] = known.get("editions", [])
        self._is_new = False
        self._looked_at: set[str] = set()
        self._folders: dict[Path, tuple[list[Folder], list[Path], list[OSError]]] = {}
        self._listings: dict[Path, tuple[str, Listing] | None] = {}

    @property
    def editions(self) -> Mapping[str, Edition]:
        """Which versions of the readers there are, by their names."""
        if not self._editions:
            self._is_new, self._id = True, ""
            found = (reader.edition for reader in readers.all_readers())
            self._editions = [[e.name, e.version, list(e.changes.items())] for e in found]
        return {name: Edition(name, version, dict(why)) for name, version, why in self._editions}

    def find(
        self,
        kind: str,
        roots: Iterable[Path],
        day_of: Callable[[str, str], date | None],
        search: Search,
        misnamed: Callable[[str, str], str | None] | None = None,
    ) -> Found:
        """Return the sources of a kind below the roots, in order.

        Parameters
        ----------
        kind
            Kind of source.
        roots
            Folders of animals, with folders of sessions.
        day_of
            From the names of a session's and an animal's folder, the day; None = no session.
        search
            Adds what is in a folder to what was found.
        misnamed
            From the same names, where the first is no session's but looks like one, the pattern
            that was expected.
        """
        found = Found()
        for root in roots:
            places, others, errors = self._places(root, day_of)
            for path in others:
                expected = misnamed(path.name, path.parent.name) if misnamed else None
                if expected is not None:
                    found.misname(kind, path, expected, path.parent.name)
            for error in errors:
                found.unlisted(kind, error)
            self.find_in(kind, places, search, found)
        return found

    def find_in(self, kind: str, places: Iterable[Folder], search: Search, found: Found) -> None:
        """Add the sources of a kind in folders of sessions, in order."""
        for place in places:
            for source in self._sources(kind, place, search):
                found.add(source)

    def told(self, file: File, tell: Callable[[], Any], what: str = "") -> Any:
        """Return what a file tells of itself; of one that is as it was, what it told before.

        Parameters
        ----------
        file
            The file.
        tell
            Looks at it; returns what JSON can hold. Its errors are not remembered.
        what
            Which of several things it tells.
        """
        key = f"{file.path}\n{what}" if what else file.path
        self._looked_at.add(key)
        known = self._known_files.get(key, [])
        if known[:2] != [file.size, file.mtime_ns]:
            known = self._known_files[key] = [file.size, file.mtime_ns, tell()]
            self._since["files"].add(key)
            self._is_new = True
        return known[2]

    def save(self) -> None:
        """Remember what was found, if anything is new; failing to is no fault."""
        if not self._is_new:
            return
        memory: dict[str, dict[str, Any]] = {"folders": self._known, "files": self._known_files}
        count = sum(map(len, self._since.values()))
        if self._id and count <= max(_MANY, sum(map(len, memory.values())) // _PART):
            since = {n: {key: memory[n][key] for key in keys} for n, keys in self._since.items()}
            cache.save(self._layout, _SINCE, self._readers + self._id, since)
        else:
            there = {
                n: {p: k for p, k in m.items() if self._is_there(p)} for n, m in memory.items()
            }
            self._id, self._since = uuid.uuid4().hex, {"folders": set(), "files": set()}
            whole = {"id": self._id, "editions": self._editions, **there}
            cache.save(self._layout, _FILE, self._readers, whole)
        self._is_new = False

    def _is_there(self, path: str) -> bool:
        return path in self._looked_at or os.path.exists(path)  # noqa: PTH110

    def _places(
        self, root: Path, day_of: Callable[[str, str], date | None]
    ) -> tuple[list[Folder], list[Path], list[OSError]]:
        if root not in self._folders:
            places: list[Folder] = []
            others: list[Path] = []
            errors: list[OSError] = []
            for animal in folders(root, errors.append):
                for session in folders(animal, errors.append):
                    day = day_of(session.name, animal.name)
                    if day is not None:
                        places.append(Folder(root, session, animal.name, day))
                    else:
                        others.append(session)
            self._folders[root] = places, others, errors
        return self._folders[root]

    def _sources(self, kind: str, place: Folder, search: Search) -> list[Source]:
        if place.path not in self._listings:
            self._listings[place.path] = _listing(place.path)
        listed = self._listings[place.path]
        if listed is None:
            return _searched(place, search)
        print_, inside = listed
        key = str(place.path)
        self._looked_at.add(key)
        known = self._known.get(key, {})
        if known.get("print") != print_:
            known = {"print": print_}
        if kind in known:
            # What is wrong with the memory is looked up anew.
            with suppress(KeyError, TypeError, ValueError, AttributeError, IndexError):
                return [_from_record(place, record) for record in known[kind]]
        sources = _searched(place, search)
        records = [_record(place, source, inside) for source in sources]
        if None not in records:
            self._known[key] = {**known, kind: records}
            self._since["folders"].add(key)
            self._is_new = True
        return sources


def _searched(place: Folder, search: Callable[[Folder, Found], None]) -> list[Source]:
    found = Found()
    search(place, found)
    # Two of one name: whoever puts all folders together says which goes first.
    return [*found.sources, *(source for source, _ in found.skipped)]


def _listing(folder: Path) -> tuple[str, Listing] | None:
    """Return a hash over all that is below a folder, and it; None where it cannot be told."""
    inside: Listing = []
    linked = set()
    try:
        todo = [(os.fspath(folder), "")]
        while todo:
            path, relative = todo.pop()
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.is_dir():
                        # A junction of Windows does not say that it is a link.
                        if files.WINDOWS or entry.is_symlink():
                            info = os.stat(entry.path)  # noqa: PTH116 - texts are quick
                            if (info.st_dev, info.st_ino) in linked:
                                return None  # a loop of links
                            linked.add((info.st_dev, info.st_ino))
                        todo.append((entry.path, f"{relative}{entry.name}/"))
                        inside.append(f"{relative}{entry.name}/\0{0}\0{0}")
                    else:
                        info = entry.stat()
                        inside.append(f"{relative}{entry.name}\0{info.st_size}\0{info.st_mtime_ns}")
        inside.sort()
        return hashlib.sha256("\n".join(inside).encode()).hexdigest(), inside
    except (OSError, UnicodeError):
        return None


def _record(place: Folder, source: Source, inside: Listing) -> dict[str, Any] | None:
    """Return what is to be remembered of a source; None if it must be looked at every time."""
    if source.problem is not None:
        return None
    try:
        top = os.fspath(place.path)
        split = (line.rsplit("\0", 2) for line in inside)
        known = {name: (int(size), int(mtime_ns)) for name, size, mtime_ns in split}
        names = [_below(place, path) for path in source.files()]
        # A file elsewhere, or one that is not there, makes the source be searched every time.
        stat = [[os.path.join(top, name), *known[name]] for name in names]  # noqa: PTH118
        return {
            "kind": source.kind,
            "name": source.name,
            "path": _below(place, source.path),
            "insertion_number": source.insertion_number,
            "waits_for": source.waits_for,
            "expected": source.expected,
            "parts": [
                [p.kind, p.reader, [_below(place, path) for path in p.paths]] for p in source.parts
            ],
            "stat": print_of(stat),
        }
    except (MaplakeError, KeyError, ValueError):
        return None


def _below(place: Folder, path: Path) -> str:
    return path.relative_to(place.path).as_posix()


class _Remembered(Source):
    """A source whose parts are made when they are asked for: of most, nobody asks."""

    _folder: Path
    _records: list[PartRecord]

    @classmethod
    def made(cls, source: Source, folder: Path, records: list[PartRecord]) -> _Remembered:
        """Make one from a source without parts and what was remembered of them."""
        remembered = cls.__new__(cls)
        values = {name: value for name, value in vars(source).items() if name != "parts"}
        vars(remembered).update(values, _folder=folder, _records=records)
        return remembered

    def __getattr__(self, name: str) -> Any:
        if name != "parts":
            raise AttributeError(name)
        parts = []
        for kind, reader, names in self._records:
            first, *more = (self._folder / name for name in names)
            parts.append(Part(kind, reader, first, tuple(more)))
        vars(self)["parts"] = tuple(parts)
        return vars(self)["parts"]

    def __eq__(self, other: object) -> bool:
        """Whether another source, remembered or found now, is the same."""
        compared = [one.name for one in fields(Source) if one.compare]
        return isinstance(other, Source) and all(
            getattr(self, name) == getattr(other, name) for name in compared
        )

    __hash__ = Source.__hash__


def _from_record(place: Folder, record: Mapping[str, Any]) -> Source:
    source = Source(
        record["kind"],
        record["name"],
        place.path / record["path"],
        place.h2o,
        place.day,
        insertion_number=record["insertion_number"],
        nth=place.nth,
        rig=place.rig,
        waits_for=record["waits_for"],
        expected=record["expected"],
        stat_print=record["stat"],
    )
    return _Remembered.made(source, place.path, record["parts"])


def _readers_print() -> str:
    """Return what changes when other readers are installed, or what finds and reads is another."""
    points = entry_points(group="maplake.readers")
    found = [
        f"{point.name} {point.value} {point.dist.version if point.dist else ''}" for point in points
    ]
    ours = (Path(readers.__file__).parent, Path(__file__).parent)
    for place in (*ours, *(place for point in points for place in _places_of(point))):
        if place.is_dir():
            listed = listing.entries(place, lambda _: None)
            code = [File.listed(entry) for entry in listed if entry.name.endswith(".py")]
            found += [f"{file.path} {file.size} {file.mtime_ns}" for file in code if file]
        else:
            with suppress(OSError):
                found.append(f"{stat_files([place])}")
    return hashlib.sha256("\n".join(found).encode("utf-8", "surrogateescape")).hexdigest()


def _places_of(point: EntryPoint) -> list[Path]:
    """Return where the code of somebody else's reader is: folders of a package, or a file.

    Nothing of it is run.
    """
    with suppress(ImportError, ValueError):
        spec = importlib.util.find_spec(point.module.partition(".")[0])
        if spec is not None and spec.submodule_search_locations:
            return [Path(folder) for folder in spec.submodule_search_locations]
        if spec is not None and spec.origin is not None:
            return [Path(spec.origin)]
    return []
