"""What was found below folders of recordings before, so that only changed ones are searched again.

Searching a folder means asking every reader. Here its files' names, sizes and times are compared
with those of the last search; where nothing differs, the sources found then are taken. What is
remembered is no part of the lake: without it, or where it is damaged, all folders are searched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from maplake import readers
from maplake.errors import MaplakeError
from maplake.ingest.sources import Found, Part, Source, folders
from maplake.layout import Layout
from maplake.writers import files

__all__ = ["Folder", "Seen"]

#: Size and time of change (ns) by path below a folder.
Listing = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Folder:
    """A session's folder of recordings, below one of the roots."""

    root: Path
    path: Path
    h2o: str
    day: date

    @property
    def name(self) -> str:
        """Path below the root."""
        return self.path.relative_to(self.root).as_posix()


class Seen:
    """The folders of recordings of one run, and what was found in them before.

    Parameters
    ----------
    layout
        The lake.
    """

    def __init__(self, layout: Layout) -> None:
        self._file = layout.meta / "cache" / "found.json"
        self._readers = _readers_print()
        self._known = self._load()
        self._new: dict[str, dict[str, Any]] = {}
        self._folders: dict[Path, tuple[list[Folder], list[OSError]]] = {}
        self._listings: dict[Path, tuple[str, Listing] | None] = {}

    def find(
        self,
        kind: str,
        roots: Iterable[Path],
        day_of: Callable[[str, str], date | None],
        search: Callable[[Folder, Found], None],
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
        """
        found = Found()
        for root in roots:
            places, errors = self._places(root, day_of)
            for error in errors:
                found.unlisted(kind, error)
            for place in places:
                for source in self._sources(kind, place, search):
                    found.add(source)
        return found

    def save(self) -> None:
        """Remember what was found, if anything is new; failing to is no fault."""
        if self._new == self._known:
            return
        # Names that are no text are looked at every time.
        with contextlib.suppress(OSError, UnicodeEncodeError):
            files.write_json(self._file, {"readers": self._readers, "folders": self._new})

    def _places(
        self, root: Path, day_of: Callable[[str, str], date | None]
    ) -> tuple[list[Folder], list[OSError]]:
        if root not in self._folders:
            places: list[Folder] = []
            errors: list[OSError] = []
            for animal in folders(root, errors.append):
                for session in folders(animal, errors.append):
                    day = day_of(session.name, animal.name)
                    if day is not None:
                        places.append(Folder(root, session, animal.name, day))
            self._folders[root] = places, errors
        return self._folders[root]

    def _sources(
        self, kind: str, place: Folder, search: Callable[[Folder, Found], None]
    ) -> list[Source]:
        if place.path not in self._listings:
            self._listings[place.path] = _listing(place.path)
        listed = self._listings[place.path]
        if listed is None:
            return _searched(place, search)
        print_, listing = listed
        key = str(place.path)
        known = self._known.get(key, {})
        if known.get("print") == print_ and kind in known:
            # What is wrong with the memory is looked up anew.
            with contextlib.suppress(KeyError, TypeError, ValueError, AttributeError, IndexError):
                sources = [_from_record(place, record, listing) for record in known[kind]]
                self._remember(key, print_, kind, known[kind])
                return sources
        sources = _searched(place, search)
        records = [_record(place, source, listing) for source in sources]
        if None not in records:
            self._remember(key, print_, kind, records)
        return sources

    def _remember(self, key: str, print_: str, kind: str, records: Any) -> None:
        self._new.setdefault(key, {"print": print_})[kind] = records

    def _load(self) -> dict[str, dict[str, Any]]:
        try:
            found = json.loads(self._file.read_bytes())
            if found["readers"] != self._readers:
                return {}
            return {key: dict(folder) for key, folder in found["folders"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _searched(place: Folder, search: Callable[[Folder, Found], None]) -> list[Source]:
    found = Found()
    search(place, found)
    return found.sources


def _listing(folder: Path) -> tuple[str, Listing] | None:
    """Return a hash over all that is below a folder, and it; None where it cannot be told."""
    listing: Listing = {}
    seen = set()
    try:
        todo = [(os.fspath(folder), "")]
        while todo:
            path, relative = todo.pop()
            info = os.stat(path)  # noqa: PTH116 - thousands of folders: texts are quick
            if (info.st_dev, info.st_ino) in seen:
                return None  # a loop of links
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    name = relative + entry.name
                    if entry.is_dir():
                        todo.append((entry.path, f"{name}/"))
                        listing[f"{name}/"] = (0, 0)
                    else:
                        info = entry.stat()
                        listing[name] = (info.st_size, info.st_mtime_ns)
        text = "\n".join(f"{n}\0{s}\0{t}" for n, (s, t) in sorted(listing.items()))
        return hashlib.sha256(text.encode()).hexdigest(), listing
    except (OSError, UnicodeError):
        return None


def _record(place: Folder, source: Source, listing: Listing) -> dict[str, Any] | None:
    """Return what is to be remembered of a source; None if it must be looked at every time."""
    if source.problem is not None:
        return None
    try:
        return {
            "kind": source.kind,
            "name": source.name,
            "path": _below(place, source.path),
            "insertion_number": source.insertion_number,
            "waits_for": source.waits_for,
            "parts": [
                [p.kind, p.reader, [_below(place, path) for path in p.paths]] for p in source.parts
            ],
            "files": [_known_file(place, path, listing) for path in source.files()],
        }
    except (MaplakeError, KeyError, ValueError):
        return None


def _below(place: Folder, path: Path) -> str:
    return path.relative_to(place.path).as_posix()


def _known_file(place: Folder, path: Path, listing: Listing) -> str:
    name = _below(place, path)
    listing[name]  # a file elsewhere, or one that is not there, makes the source be searched
    return name


def _from_record(place: Folder, record: Mapping[str, Any], listing: Listing) -> Source:
    top = os.fspath(place.path)
    parts = []
    for kind, reader, names in record["parts"]:
        first, *more = (place.path / name for name in names)
        parts.append(Part(kind, reader, first, tuple(more)))
    return Source(
        record["kind"],
        record["name"],
        place.path / record["path"],
        place.h2o,
        place.day,
        insertion_number=record["insertion_number"],
        parts=tuple(parts),
        waits_for=record["waits_for"],
        stat=[[os.path.join(top, name), *listing[name]] for name in record["files"]],  # noqa: PTH118
    )


def _readers_print() -> str:
    """Return what changes when other readers are installed: their files and the packages'."""
    folder = Path(readers.__file__).parent
    found = [
        f"{entry.name} {info.st_size} {info.st_mtime_ns}"
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
        for info in [entry.stat()]
        if entry.name.endswith(".py")
    ]
    found += [
        f"{point.name} {point.value} {point.dist.version if point.dist else ''}"
        for point in entry_points(group="maplake.readers")
    ]
    return hashlib.sha256("\n".join(found).encode()).hexdigest()
