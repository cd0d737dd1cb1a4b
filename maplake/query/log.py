"""The lake's log: what was changed, when, by which version, and why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from maplake.layout import Layout, session_key
from maplake.recordfile import read_json

__all__ = ["Commit", "commits"]


@dataclass(frozen=True)
class Commit:
    """One change of the lake.

    Attributes
    ----------
    time
        When, ISO 8601, UTC.
    command
        What was asked for: ingest, compute, delete, ….
    maplake
        Version that made it; empty for commits of the first versions.
    session
        ``<subject_id>_<session>``, ``lake`` or empty.
    changes
        What became of each source: kind, name, why, rows by table before and now, versions of its
        readers before and now.
    note
        Everything else that was noted.
    written, removed
        Number of files and arrays.
    """

    time: str
    command: str
    maplake: str = ""
    session: str = ""
    changes: list[dict[str, Any]] = field(default_factory=list)
    note: dict[str, Any] = field(default_factory=dict)
    written: int = 0
    removed: int = 0

    @property
    def headline(self) -> str:
        """When, what and of which session, in one line."""
        moment = datetime.fromisoformat(self.time).astimezone()
        words = [f"{moment:%Y-%m-%d %H:%M:%S}", self.command, _session(self.session)]
        more = [f"{name} {_word(value)}" for name, value in self.note.items() if name != "sources"]
        by = f"(maplake {self.maplake})" if self.maplake else ""
        return "  ".join(word for word in (*words, ", ".join(more), by) if word)

    def lines(self, *, rows: bool = False) -> Iterator[str]:
        """Yield a line per source: why it was taken in, and its rows before and now."""
        for change in self.changes:
            before, now = (sum(pair[i] for pair in change["rows"].values()) for i in (0, 1))
            count = f"{now} rows" if before in (0, now) else f"{before} > {now} rows"
            why = "; ".join(change["why"])
            yield f"{change['kind']} {change['name']}: {why} ({count})"
            for table, (old, new) in change["rows"].items() if rows else ():
                yield f"    {table}: {old} > {new}"


def commits(
    root: Path,
    *,
    limit: int | None = None,
    subject_id: int | None = None,
    session: int | None = None,
) -> list[Commit]:
    """Return the changes of a lake, the last one first.

    Parameters
    ----------
    root
        The lake's folder.
    limit
        At most so many.
    subject_id, session
        Only those of an animal, and of sessions of this number.
    """
    found = [commit for path in Layout(root).log.glob("*.json") for commit in _read(path)]
    for place, wanted in enumerate((subject_id, session)):
        if wanted is not None:
            keys = ((session_key(commit.session), commit) for commit in found)
            found = [commit for key, commit in keys if key is not None and key[place] == wanted]
    return sorted(found, key=lambda c: c.time, reverse=True)[:limit]


def _read(path: Path) -> Iterator[Commit]:
    """Read a record; one that is damaged is left out, as it only tells of the past."""
    try:
        record = json.loads(read_json(path)["body"])
        note = dict(record["note"])
        datetime.fromisoformat(record["time"])
        yield Commit(
            str(record["time"]),
            str(note.pop("command", "")),
            str(record.get("maplake", "")),
            str(note.pop("session", note.pop("records", ""))),
            note.pop("changes", []),
            note,
            sum(len(part["writes"]) for part in record["parts"]),
            sum(len(part["deletes"]) for part in record["parts"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return


def _session(name: str) -> str:
    subject, _, number = name.partition("_")
    return f"animal {subject} session {number}" if number else name


def _word(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list):
        return " ".join(map(str, value[:4])) + (f" … ({len(value)})" if len(value) > 4 else "")
    return str(value)
