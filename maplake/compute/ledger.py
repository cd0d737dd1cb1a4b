"""Which sessions have nothing left to compute, told without reading their records.

To hold every computed partition of a thousand sessions against its inputs takes longer than to
compute those of a new one. So what was found of a session is kept in ``.maplake/cache``, with the
stamps of its state and manifest and a hash of what else it follows from. It is no part of the lake:
where it is missing, damaged or of something else, everything is looked at.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maplake.ingest import cache
from maplake.ingest.session import IN
from maplake.layout import Layout, session_key

__all__ = ["SETTLED_NS", "Counts", "Ledger", "stamps_in"]

#: A file that was written a moment ago can be written again without another time of change.
SETTLED_NS = 2_000_000_000

_FILE = "computed_sessions.json"
_MADE_FROM = "1"

#: Number of partitions by status, by computation.
Counts = dict[str, dict[str, int]]
#: Name, size, time of change (ns) and number of a file.
Stamp = tuple[str, int, int, int]


@dataclass(frozen=True)
class Ledger:
    """What is known of the sessions of a lake, by the name of their records.

    Attributes
    ----------
    layout
        The lake.
    bases
        By computation, a hash of all that its partitions follow from, but for the records of
        their sessions.
    counts
        Of each session whose records are the same as when they were counted.
    stamps
        Those of the records of all sessions, as they were when this was opened.
    known
        What is kept in the cache.
    """

    layout: Layout
    bases: Mapping[str, str]
    counts: Mapping[str, Counts]
    stamps: Mapping[str, list[list[Any]]] = field(repr=False)
    known: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, layout: Layout, bases: Mapping[str, str]) -> Ledger:
        """Read what is known."""
        known = cache.load(layout, _FILE, _MADE_FROM) or {"bases": {}, "books": {}}
        stamps = _stamps(layout)
        same = all(known["bases"].get(name) == basis for name, basis in bases.items())
        counts = {
            book: {name: counted[name] for name in bases}
            for book, (kept, counted) in (known["books"].items() if same else ())
            if kept == stamps.get(book) and all(name in counted for name in bases)
        }
        return cls(layout, bases, counts, stamps, known)

    @property
    def changed(self) -> set[str]:
        """The sessions of which nothing is known."""
        return set(self.stamps) - set(self.counts)

    @property
    def idle(self) -> set[str]:
        """The sessions of which every partition is in."""
        return {
            book
            for book, counts in self.counts.items()
            if all(set(by_status) <= {IN} for by_status in counts.values())
        }

    def total(self, books: Iterable[str], names: Collection[str]) -> int:
        """Return the number of partitions of some computations in some sessions."""
        return sum(sum(self.counts[book][name].values()) for book in books for name in names)

    def write(self, found: Mapping[str, Counts]) -> None:
        """Keep what was counted since this was opened, of sessions that rest for a while."""
        before = time.time_ns() - SETTLED_NS
        books = {
            book: (self.stamps[book], {name: found[book][name] for name in self.bases})
            for book in found.keys() & self.stamps.keys()
            if max(stamp[2] for stamp in self.stamps[book]) < before
        }
        if not books:
            return
        kept = {
            book: entry
            for book, entry in self.known["books"].items()
            if book in self.stamps and book not in found
        }
        content = {"bases": {**self.known["bases"], **self.bases}, "books": kept | books}
        cache.save(self.layout, _FILE, _MADE_FROM, content)


def stamps_in(folder: Path) -> list[Stamp]:
    """Return the stamps of all files in a folder, by name."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.stat()) for entry in entries if entry.is_file()]
    except OSError:
        return []
    return sorted((name, i.st_size, i.st_mtime_ns, i.st_ino) for name, i in found)


def _stamps(layout: Layout) -> dict[str, list[list[Any]]]:
    """Return the stamps of the state and the manifest of every session, as JSON gives them back."""
    found: dict[str, list[list[Any]]] = {}
    for folder in ("state", "manifest"):
        for stamp in stamps_in(layout.meta / folder):
            found.setdefault(stamp[0].removesuffix(".json"), []).append(list(stamp))
    return {book: stamps for book, stamps in found.items() if session_key(book)}
