"""Which sessions and probe insertions an export is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from maplake.errors import NotFoundError, QueryError
from maplake.query.sqltext import identifier, literal

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.lake import Lake

__all__ = ["Insertion", "Selection", "Session", "ask", "insertions", "place", "sessions"]

_SHOWN = 10

#: What ``--where`` is written over.
SESSIONS = """
SELECT s.*, w.water_restriction_number AS h2o
FROM experiment.session AS s
LEFT JOIN lab.water_restriction AS w USING (subject_id)
"""


@dataclass(frozen=True)
class Selection:
    """What to export; empty = everything.

    Attributes
    ----------
    subjects
        Animals by subject_id or water restriction number.
    sessions, insertions
        Numbers.
    where
        SQL predicate over the columns of ``experiment.session`` and ``h2o``.
    """

    subjects: Sequence[str] = ()
    sessions: Sequence[int] = ()
    insertions: Sequence[int] = ()
    where: str = ""


@dataclass(frozen=True)
class Session:
    """A session, with what names it in files."""

    subject_id: int
    session: int
    h2o: str
    start: datetime

    @property
    def key(self) -> dict[str, int]:
        """The columns that name it."""
        return {"subject_id": self.subject_id, "session": self.session}

    def __str__(self) -> str:
        return f"{self.h2o} session {self.session}"


@dataclass(frozen=True)
class Insertion(Session):
    """A probe insertion of a session."""

    insertion_number: int

    @property
    def key(self) -> dict[str, int]:
        """The columns that name it."""
        return {**super().key, "insertion_number": self.insertion_number}

    def __str__(self) -> str:
        return f"{super().__str__()} insertion {self.insertion_number}"


def ask(lake: Lake, query: str) -> pl.DataFrame:
    """Run a query; an error while it runs is a :class:`QueryError`, too."""
    import duckdb

    try:
        return cast("pl.DataFrame", lake.sql(query).pl())
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def place(key: Mapping[str, Any], alias: str = "") -> str:
    """Return an SQL condition: columns equal to values."""
    dot = f"{alias}." if alias else ""
    return " AND ".join(f"{dot}{identifier(k)} = {literal(v)}" for k, v in key.items())


def predicate(lake: Lake, text: str) -> str:
    """Return a user's predicate in parentheses.

    Raises
    ------
    QueryError
        If it is more than an expression.
    """
    import duckdb

    # The line break keeps a comment at its end from swallowing the parenthesis.
    wrapped = f"(\n{text}\n)"
    try:
        with lake.connect() as con:
            parts = con.extract_statements(f"SELECT 1 WHERE {wrapped}")
    except duckdb.Error as error:
        raise QueryError(f"--where is no SQL predicate: {error}", found=text) from error
    if len(parts) != 1:
        raise QueryError("--where must be one predicate", found=text)
    return wrapped


def sessions(lake: Lake, wanted: Selection) -> list[Session]:
    """Return the sessions that a selection names, sorted.

    Raises
    ------
    NotFoundError
        If an animal or session does not exist, or nothing is left; the message lists what is.
    QueryError
        If the predicate is wrong.
    """
    known = ask(lake, f"FROM ({SESSIONS}) ORDER BY subject_id, session")
    rows = _sessions(known)
    animals = [_animal(rows, name) for name in wanted.subjects]
    chosen = [
        s
        for s in rows
        if (not animals or s.subject_id in animals)
        and (not wanted.sessions or s.session in wanted.sessions)
    ]
    for number in wanted.sessions:
        if all(s.session != number for s in chosen):
            around = [s for s in rows if not animals or s.subject_id in animals]
            raise NotFoundError(f"there is no session {number}", hint=_there_is(around))
    if wanted.where:
        test = predicate(lake, wanted.where)
        kept = ask(lake, f"SELECT subject_id, session FROM ({SESSIONS}) WHERE {test}").rows()
        chosen = [s for s in chosen if (s.subject_id, s.session) in set(kept)]
    if not chosen:
        raise NotFoundError("no session is selected", hint=_there_is(rows))
    return chosen


def insertions(lake: Lake, wanted: Selection) -> list[Insertion]:
    """Return the probe insertions that a selection names, sorted.

    Raises
    ------
    NotFoundError
        If something named does not exist, or nothing is left; the message lists what is.
    """
    chosen = {(s.subject_id, s.session): s for s in sessions(lake, wanted)}
    rows = ask(
        lake,
        "SELECT subject_id, session, insertion_number FROM ephys.probe_insertion ORDER BY ALL",
    ).rows()
    there = [
        Insertion(**vars(chosen[r[:2]]), insertion_number=r[2]) for r in rows if r[:2] in chosen
    ]
    kept = [i for i in there if not wanted.insertions or i.insertion_number in wanted.insertions]
    if not kept:
        what = ", ".join(map(str, wanted.insertions))
        raise NotFoundError(
            f"there is no probe insertion {what}".rstrip() + " in what is selected",
            hint=f"There are {_some([str(i) for i in there])}."
            if there
            else f"No probe was inserted in {_some([str(s) for s in chosen.values()])}.",
        )
    return kept


def _sessions(known: pl.DataFrame) -> list[Session]:
    columns = ("subject_id", "session", "h2o", "session_datetime")
    return [
        Session(subject, session, h2o or str(subject), start)
        for subject, session, h2o, start in known.select(columns).rows()
    ]


def _animal(rows: Sequence[Session], name: str) -> int:
    wanted = name.lower()
    for match in (lambda s: s.h2o.lower() == wanted, lambda s: str(s.subject_id) == wanted):
        for session in rows:
            if match(session):
                return session.subject_id
    animals = sorted({f"{s.h2o} ({s.subject_id})" for s in rows})
    hint = f"Animals with sessions are {_some(animals)}." if animals else "The lake is empty."
    raise NotFoundError(f"there is no animal {name!r} with sessions", hint=hint)


def _there_is(rows: Sequence[Session]) -> str:
    if not rows:
        return "The lake has no sessions yet."
    return f"There are {_some([str(s) for s in rows])}."


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
