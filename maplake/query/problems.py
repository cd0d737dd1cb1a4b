"""What is wrong with a lake, and the command that puts it right."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from maplake.layout import LAKE_NAME, state_file
from maplake.query.overview import table_name
from maplake.tables import Table

__all__ = ["Owners", "Problem", "of_book"]

#: Kinds of sources whose files can be read again, one by one, from raw files.
_RAW = ("behavior", "ephys", "lfp", "nidq", "tracking", "histology")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes
    ----------
    table
        Full name of the table; empty for files of no table.
    partition
        File or folder below the lake's root; empty where a problem is spread over several.
    kind
        ``unreadable``, ``schema``, ``null``, ``key``, ``unique``, ``values``, ``reference``,
        ``missing``, ``extra``, ``bytes``, ``rows``, ``checksum``; ``record`` for maplake's own
        records, ``spare`` for second copies, ``snapshot``, ``catalog``, ``compact`` for merged
        files, and ``stale`` for computed rows.
    message
        What is wrong, with an example.
    rows
        How many rows, where that applies.
    subject_id, session, insertion_number
        Whose rows they are, as far as it applies.
    repair
        The command that puts it right; empty where no command can.
    """

    table: str
    partition: str
    kind: str
    message: str
    rows: int | None = None
    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None
    repair: str = ""


class Owners:
    """Which source of a session (or of the lake) a file came from, by the session's state.

    Parameters
    ----------
    book
        Name of the state.
    states
        What it says; empty where it cannot be read.
    tables
        All tables of the lake.
    """

    def __init__(
        self, book: str, states: Iterable[Mapping[str, Any]], tables: Mapping[str, Table]
    ) -> None:
        self._book, self._tables = book, tables
        self.outputs: dict[str, Mapping[str, Any]] = {
            str(path): state for state in states for path in state.get("outputs") or ()
        }

    @classmethod
    def read(cls, root: Path, book: str, tables: Mapping[str, Table]) -> Owners:
        """Read a state; one that cannot be read owns nothing."""
        try:
            found = json.loads((root / state_file(book)).read_bytes())["sources"]
            return cls(book, [state for state in found if isinstance(state, dict)], tables)
        except (OSError, ValueError, KeyError, TypeError):
            return cls(book, [], tables)

    def problem(self, path: str, kind: str, message: str, rows: int | None = None) -> Problem:
        """Return the problem of a file, with whose it is and what repairs it."""
        name = table_name(path) or ""
        problem = Problem(name, path, kind, message, rows, **_levels(path))
        repair = self._repair(path, self._tables.get(name))
        if not repair:
            problem = dataclasses.replace(
                problem,
                message=f"{message}; it is in the archive alone and cannot be made again: take "
                "it from a backup",
            )
        return dataclasses.replace(problem, repair=repair)

    def owner(self, path: str) -> Mapping[str, Any]:
        """Return the state of the source that a file came from; empty if none is known."""
        for place in (path, *map(str, PurePosixPath(path).parents)):
            if place in self.outputs:
                return self.outputs[place]
        return {}

    def _repair(self, path: str, table: Table | None) -> str:
        owner = self.owner(path)
        kind = str(owner.get("kind", ""))
        if kind == "computed":
            name = str(owner["name"]).split(" ")[0]
            return " ".join(["maplake compute", name, *_options(self._book), "--again"])
        if table is not None and table.spared:
            return "maplake rebuild --spare"
        if kind == "archive":
            return ""
        if kind == "ccf" or path.startswith("arrays/ccf/") or self._book == LAKE_NAME:
            return "maplake rebuild ccf"
        what = [kind] if kind in _RAW else []
        return " ".join(["maplake rebuild", *what, *_options(self._book)])


def of_book(book: str, path: str, message: str) -> Problem:
    """Return the problem of a record of a session, or of the lake as a whole."""
    place = dict(zip(("subject_id", "session"), book.split("_"), strict=False))
    if book == LAKE_NAME:
        return Problem("", path, "record", message, repair="maplake rebuild --spare")
    known = {name: int(value) for name, value in place.items() if value.isdecimal()}
    return Problem(
        "", path, "record", message, **known, repair=" ".join(["maplake rebuild", *_options(book)])
    )


def _options(book: str) -> list[str]:
    if book == LAKE_NAME:
        return []
    subject, _, session = book.partition("_")
    return ["--subject", subject, "--session", session]


def _levels(path: str) -> dict[str, Any]:
    found = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
    names = ("subject_id", "session", "insertion_number")
    return {name: int(found[name]) for name in names if found.get(name, "").isdecimal()}
