"""Which files of the lake no manifest knows, found session by session.

A file's path says whose it is: so the files of one session are compared with its manifest and
then forgotten. What is kept is what is elsewhere than it should be.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path

from maplake.layout import LAKE_NAME, manifest_file
from maplake.recordfile import read_json

__all__ = ["Known"]

_SESSION = re.compile(r"(?:tables/[^/]+|arrays)/[^/]+/subject_id=([^/]+)/session=([^/]+)")


def _home(path: str) -> str:
    """Return the name of the manifest in which a file of this path should be."""
    found = _SESSION.match(path)
    return f"{found[1]}_{found[2]}" if found else LAKE_NAME


class Known:
    """The files that manifests name, and those that lie in the lake beside them.

    Parameters
    ----------
    root
        The lake's folder.
    books
        Names of all manifests, in the order in which they are gone through.
    """

    def __init__(self, root: Path, books: Collection[str]) -> None:
        self._root, self._books = root, frozenset(books)
        self._tops = [
            path.relative_to(root).as_posix()
            for pattern in ("tables/*/*", "arrays/*")
            for path in root.glob(pattern)
        ]
        self._own: set[str] = set()
        self._of_lake: set[str] = set()
        self._elsewhere: dict[str, str] = {}
        self._strays: list[str] = []

    def add(self, path: str, book: str) -> str | None:
        """Note that a manifest names a file; return an earlier one that does so, too."""
        home, other = _home(path), self._elsewhere.get(path)
        if home == book:
            self._own.add(path)
            return other
        if other is None and home < book and home in self._books and self._names(home, path):
            other = home
        self._elsewhere[path] = book
        return other

    def _names(self, book: str, path: str) -> bool:
        try:
            return path in read_json(self._root / manifest_file(book))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def close(self, book: str) -> None:
        """Look for files beside those of a manifest that were added, and forget these."""
        if book == LAKE_NAME:
            self._of_lake = self._own
        else:
            subject, _, session = book.partition("_")
            for top in self._tops:
                found = self._walk(f"{top}/subject_id={subject}/session={session}")
                self._strays += [path for path in found if path not in self._own]
        self._own = set()

    def strays(self) -> Iterator[str]:
        """Return, after all manifests, the files that none of them names."""
        for top in ("tables", "arrays"):
            self._strays += [path for path in self._walk(top) if path not in self._of_lake]
        return (path for path in sorted(self._strays) if path not in self._elsewhere)

    def _walk(self, folder: str) -> Iterator[str]:
        """Yield the files below a folder; those of sessions with a manifest have been seen."""
        try:
            with os.scandir(self._root / folder) as entries:
                found = list(entries)
        except OSError:
            return
        for entry in found:
            path = f"{folder}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if not (_SESSION.fullmatch(path) and _home(path) in self._books):
                    yield from self._walk(path)
            elif entry.is_file():
                yield path
