"""The animals and sessions that the rows of a sheet of insertion locations may mean."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime, time
from typing import TYPE_CHECKING

from maplake.ingest.index import read_index
from maplake.ingest.location_rows import KIND, Place, times_named
from maplake.ingest.plan import subjects_by_h2o
from maplake.ingest.session import IN, PLANNED, Item, SessionPlan, State
from maplake.ingest.sources import BEHAVIOR, EPHYS
from maplake.ingest.starts import session_datetime
from maplake.ingest.state import SourceState, read_state
from maplake.layout import LAKE_NAME, Layout, table_file
from maplake.readers.sheets import animal_named
from maplake.tables import get

if TYPE_CHECKING:
    from maplake.readers.insertion_locations import InsertionRow

_CONCERNED = (BEHAVIOR, EPHYS, KIND)


@dataclass(frozen=True)
class Session:
    """A session, its probes and what tells its behavior from another's."""

    session: int
    start: datetime
    named: frozenset[str]  # HHMMSS in the names of its behavior files; foraging joins several
    insertions: frozenset[int]
    behavior: str


class LakeSessions:
    """The animals and sessions that a sheet is held against, looked at once.

    What others commit while it is loaded was not held against it, and is not said to be.
    ``planned`` are sessions that a run would take in before: they count as if they were there.
    """

    def __init__(self, layout: Layout, planned: Iterable[SessionPlan] = ()) -> None:
        self.layout = layout
        self.planned = {s.name: s for s in planned if _concerned(s.todo)}
        self.subjects = subjects_by_h2o(layout)
        self.subjects |= {s.h2o: s.subject_id for s in self.planned.values()}
        self.states = read_index(layout)
        self._prints = {name: _print_of(state) for name, state in self.states.items()}
        self._prints |= dict.fromkeys(self.planned, PLANNED)

    def look_again(self, names: Iterable[str]) -> None:
        """See what was loaded into sessions just now."""
        for name in names:
            self.states[name] = read_state(self.layout, name)
            self._prints[name] = _print_of(self.states[name])

    def digest(self, content: str) -> str:
        """Return a hash over a sheet's own and all animals and sessions that its rows may mean."""
        animals = (f"{h2o} {subject}" for h2o, subject in sorted(self.subjects.items()))
        return _hash([content, *animals, *self._lines().values()])

    def prints_of(self, texts: Mapping[str, str]) -> dict[str, str]:
        """Return, by animal, a hash over the text of its rows and its sessions.

        Parameters
        ----------
        texts
            The rows of each animal, by its water restriction number in lower case.
        """
        numbers = {h2o.lower(): number for h2o, number in self.subjects.items()}
        sessions: dict[str, list[str]] = defaultdict(list)
        for name, line in self._lines().items():
            sessions[name.partition("_")[0]].append(line)
        return {
            animal: _hash([text, *sessions.get(str(numbers.get(animal)), [])])
            for animal, text in texts.items()
        }

    def _lines(self) -> dict[str, str]:
        return {n: f"{n} {text}" for n, text in self._prints.items() if n != LAKE_NAME}


def sessions_of(lake: LakeSessions, subjects: AbstractSet[int]) -> dict[int, list[Session]]:
    """Return the sessions of animals that are in the lake, with their probes, by animal."""
    sessions: dict[int, list[Session]] = defaultdict(list)
    for name, session in lake.states.items():
        for state in session.values() if name not in lake.planned else ():
            if state.kind != BEHAVIOR or state.status != IN or state.subject_id not in subjects:
                continue
            if state.subject_id is None or state.session is None:
                continue
            probes = frozenset(
                s.insertion_number or 0
                for s in session.values()
                if s.kind == EPHYS and s.status == IN
            )
            key = {"subject_id": state.subject_id, "session": state.session}
            start = session_datetime(lake.layout.root / table_file(get("experiment.session"), key))
            if start is not None:
                named = datetime.fromisoformat(state.start) if state.start else start
                found = Session(
                    state.session, start, times_named(named, state.files), probes, _edition(state)
                )
                sessions[state.subject_id].append(found)
    for plan in lake.planned.values():
        if plan.subject_id in subjects:
            sessions[plan.subject_id].append(_planned(plan))
    return sessions


def _planned(plan: SessionPlan) -> Session:
    """Return a session as a run would take it in."""
    known = [s for s in plan.state.values() if s.status == IN]
    probes = {s.insertion_number or 0 for s in known if s.kind == EPHYS}
    probes |= {i.source.insertion_number or 0 for i in plan.todo if i.source.kind == EPHYS}
    is_read = any(item.source.kind == BEHAVIOR for item in plan.todo)
    behavior = PLANNED if is_read else "".join(_edition(s) for s in known if s.kind == BEHAVIOR)
    files = [file for s in known if s.kind == BEHAVIOR for file in s.files]
    read = (item.source.parts for item in plan.items if item.source.kind == BEHAVIOR)
    files += [str(path) for parts in read for part in parts for path in part.paths]
    named = times_named(plan.start, files)
    return Session(plan.session, plan.start, named, frozenset(probes), behavior)


def place_of(
    row: InsertionRow, sessions: Mapping[int, Sequence[Session]], subjects: Mapping[str, int]
) -> tuple[Place | None, str]:
    """Return the insertion that a row means; None with the reason if it is none or not sure."""
    h2o, subject = row.water_restriction_number, animal_of(row, subjects)
    if subject is None:
        return None, f"no animal has the water restriction number {h2o!r}"
    if row.subject_id is not None and row.subject_id != subject:
        return None, f"{h2o} is animal {subject}, not {row.subject_id}"
    day = [s for s in sessions.get(subject, []) if s.start.date() == row.session_date]
    if row.behaviour_time is not None:
        named = [s for s in day if f"{row.behaviour_time:%H%M%S}" in s.named]
        day = named or [s for s in day if _clock(s.start) == row.behaviour_time]
    if len(day) != 1:
        when = f"{row.session_date}" + (f" {row.behaviour_time}" if row.behaviour_time else "")
        many = f"{len(day)} sessions; give behaviour_time (HHMMSS)" if day else "no session"
        return None, f"{h2o or subject} has {many} on {when} in the lake"
    session = day[0]
    if row.insertion_number not in session.insertions:
        known = ", ".join(map(str, sorted(session.insertions))) or "none"
        return None, (
            f"session {session.session} of {h2o or subject} has no probe insertion "
            f"{row.insertion_number} in the lake (it has: {known})"
        )
    return Place(subject, session.session, row.insertion_number, session.behavior), ""


def animal_of(row: InsertionRow, subjects: Mapping[str, int]) -> int | None:
    """Return the number of the animal that a row names."""
    h2o = row.water_restriction_number
    return animal_named(h2o, subjects) if h2o else row.subject_id


def _clock(moment: datetime) -> time:
    return moment.time().replace(microsecond=0)


def _concerned(items: Iterable[Item]) -> list[Item]:
    return [item for item in items if item.source.kind in _CONCERNED]


def _print_of(session: State) -> str:
    # Not what was computed from them: `compute` changes nothing for a sheet.
    return "\n".join(
        f"{state.kind} {state.name} {_edition(state)}"
        for state in session.values()
        if state.status == IN and state.kind in _CONCERNED
    )


def _edition(state: SourceState) -> str:
    """Return what tells a source's rows from those of other files, or of a corrected reader."""
    since = f" {state.reader_version}" if state.reader_version > 1 else ""
    return f"{state.fingerprint}{since}"


def _hash(lines: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
