"""Every error that maplake raises on purpose.

One base class, one class per kind of fault. Each carries the file, the place in it, what was
found, what was expected and what to do next; :func:`str` joins them to one message for people,
:meth:`MaplakeError.as_dict` gives the same as data for scripts.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "AlignmentError",
    "AmbiguousSourceError",
    "ClusterError",
    "ConfigError",
    "CorruptFileError",
    "FileFormatError",
    "IntegrityError",
    "LakeError",
    "LakeLockedError",
    "LakeNotFoundError",
    "LakeReadOnlyError",
    "LakeVersionError",
    "LengthMismatchError",
    "MaplakeError",
    "MissingFileError",
    "NotFoundError",
    "QueryError",
    "SchemaError",
    "SourceChangedError",
    "SourceError",
    "SpreadsheetError",
    "UnknownValueError",
    "UnreadableFileError",
    "WorkerLostError",
    "near",
    "plain_text",
    "suggest",
]


def plain_text(text: str) -> str:
    """Return text that can be written anywhere; names of files need not be Unicode on Linux."""
    return text.encode("utf-8", "replace").decode("utf-8")


def near(name: str, known: Iterable[str]) -> str | None:
    """Return a sentence with the closest known name; None if none is close."""
    from difflib import get_close_matches

    names = {one.lower(): one for one in known}
    found = get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f"Did you mean {names[found[0]]!r}?" if found else None


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the closest known name, else with all of them."""
    names = list(known)
    return near(name, names) or f"Known are {', '.join(names)}."


class MaplakeError(Exception):
    """Base of all errors that maplake raises on purpose.

    Parameters
    ----------
    message
        What is wrong, in one sentence.
    file
        The file or folder concerned.
    place
        Where in the file: a trial, field, row, line or key.
    found, expected
        What was there, and what should have been.
    hint
        What the user can do about it.
    """

    exit_code = 1

    def __init__(
        self,
        message: str,
        *,
        file: str | Path | None = None,
        place: str | None = None,
        found: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = plain_text(message)
        self.file = None if file is None else plain_text(str(file))
        self.place = None if place is None else plain_text(place)
        self.found = None if found is None else plain_text(str(found))
        self.expected = None if expected is None else str(expected)
        self.hint = hint

    def __str__(self) -> str:
        where = self.file or ""
        if self.place:
            where = f"{where}, {self.place}" if where else self.place
        text = f"{where}: {self.message}" if where else self.message
        if self.found is not None:
            text += f"; found {self.found}"
        if self.expected is not None:
            text += f"; expected {self.expected}"
        if not self.hint:
            return text
        end = "" if text.endswith((".", "!", "?")) else "."  # what others say may end so
        return f"{text}{end} {self.hint}"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders in parallel ingest; keyword arguments need this.
        return (_rebuild, (type(self), self.message, self._fields()))

    def _fields(self) -> dict[str, str | None]:
        names = ("file", "place", "found", "expected", "hint")
        return {name: getattr(self, name) for name in names}

    def as_dict(self) -> dict[str, str | None]:
        """Return the error as a flat dictionary of strings for ``--json``."""
        return {"error": type(self).__name__, "message": self.message, **self._fields()}


def _rebuild(kind: type[MaplakeError], message: str, fields: dict[str, str | None]) -> MaplakeError:
    return kind(message, **fields)


class ConfigError(MaplakeError, ValueError):
    """``lake.toml`` is missing, malformed or says something impossible."""

    exit_code = 3


class SourceError(MaplakeError):
    """A raw file or folder cannot be taken into the lake."""

    exit_code = 4


class MissingFileError(SourceError, FileNotFoundError):
    """A file or folder that is needed does not exist."""


class UnreadableFileError(SourceError, OSError):
    """A file exists but the operating system refuses to read it."""


class CorruptFileError(SourceError, ValueError):
    """A file is empty, truncated or otherwise damaged."""


class FileFormatError(SourceError, ValueError):
    """A file is whole but is not what its name promises (wrong version, type or layout)."""


class LengthMismatchError(SourceError, ValueError):
    """Arrays that belong together differ in length."""


class UnknownValueError(SourceError, ValueError):
    """A file holds a word or code that maplake does not know."""


class AmbiguousSourceError(SourceError):
    """More than one file could be meant, or a file matches more than one session."""


class SourceChangedError(SourceError):
    """A file changed while it was read."""


class AlignmentError(SourceError, ValueError):
    """Recordings of one session cannot be brought onto one clock."""


class SpreadsheetError(SourceError, ValueError):
    """A row of a spreadsheet cannot be used."""


class WorkerLostError(SourceError):
    """The process that worked on a source died, however often it was tried."""


class ClusterError(MaplakeError, ConnectionError):
    """The cluster that was to do the work cannot be reached or used."""

    exit_code = 3


class SchemaError(MaplakeError, TypeError):
    """Rows do not fit the declaration of their table."""


class LakeError(MaplakeError):
    """The lake itself cannot be used as asked."""

    exit_code = 5


class LakeNotFoundError(LakeError, FileNotFoundError):
    """There is no lake at the given place."""


class LakeVersionError(LakeError):
    """The lake was written by a newer (or unknown) version of maplake."""


class LakeLockedError(LakeError, TimeoutError):
    """Another process is writing to the lake."""

    exit_code = 6


class LakeReadOnlyError(LakeError, PermissionError):
    """The lake's disk or folder cannot be written to."""


class IntegrityError(LakeError):
    """The lake's content contradicts its declarations or its log."""

    exit_code = 7


class QueryError(MaplakeError, ValueError):
    """A query or its parameters cannot be answered."""


class NotFoundError(QueryError, LookupError):
    """No such table, session, insertion, unit or condition."""
