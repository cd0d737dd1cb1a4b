"""The plan: which sources belong to which session, and which of them must be read."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl

from maplake.config import Config
from maplake.errors import MissingFileError, UnreadableFileError
from maplake.ingest import sources
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.sources import BEHAVIOR, EPHYS, Source
from maplake.ingest.state import SourceState, stat_files, state_name
from maplake.layout import Layout, table_file
from maplake.tables import get

State = dict[tuple[str, str], SourceState]

IN, UNCHANGED, WAITING, FAILED, SKIPPED, PLANNED = (
    "in",
    "unchanged",
    "waiting",
    "failed",
    "skipped",
    "planned",
)
GONE = "in the lake, but its raw file has gone"
#: A recording belongs to the session that started within this time of it, s.
_SAME_START_S = 120.0


@dataclass(frozen=True)
class Item:
    """One source in the plan.

    ``status`` is ``planned`` for what is to be read, else why it is not.
    """

    source: Source
    status: str
    reason: str | None = None


@dataclass
class SessionPlan:
    """The sources of one session.

    Attributes
    ----------
    subject_id, session, h2o, start
        Which session.
    items
        Its sources.
    state
        What the lake knows of them.
    """

    subject_id: int
    session: int
    h2o: str
    start: datetime
    items: list[Item] = field(default_factory=list)
    state: State = field(default_factory=dict)

    @property
    def partition(self) -> dict[str, int]:
        """subject_id and session."""
        return {"subject_id": self.subject_id, "session": self.session}

    @property
    def name(self) -> str:
        """Name of its state file."""
        return state_name(self.subject_id, self.session)

    @property
    def todo(self) -> list[Source]:
        """The sources to be read, behavior first."""
        return [item.source for item in self.items if item.status == PLANNED]


@dataclass
class Plan:
    """All sessions, and the sources that belong to none."""

    sessions: list[SessionPlan] = field(default_factory=list)
    others: list[Item] = field(default_factory=list)


def subjects_by_h2o(layout: Layout) -> dict[str, int]:
    """Return the animals' numbers by their short names."""
    path = layout.root / table_file(get("lab.water_restriction"), {})
    if not path.exists():
        return {}
    table = pl.read_parquet(
        path, columns=["water_restriction_number", "subject_id"], hive_partitioning=False
    )
    return dict(table.iter_rows())


def make_plan(
    config: Config,
    layout: Layout,
    numbers: SessionNumbers,
    states: Mapping[str, State],
    kinds: Sequence[str] = (),
) -> Plan:
    """Find all sources, give sessions their numbers and decide what must be read.

    Parameters
    ----------
    config
        Roots and settings.
    layout
        The lake.
    numbers
        The registry of session numbers; new sessions are added to it (not saved).
    states
        What the lake knows, by state file.
    kinds
        Kinds to read; empty = all. Sources of other kinds only serve to place them.
    """
    plan = Plan()
    subjects = subjects_by_h2o(layout)
    behavior = sources.behavior_sources(config)
    _number(numbers, subjects, behavior.sources)
    sessions: dict[str, SessionPlan] = {}
    for source in behavior.sources:
        _place_behavior(plan, sessions, source, subjects, numbers, states)
    plan.others += [Item(source, SKIPPED, reason) for source, reason in behavior.skipped]
    _place_known(sessions, states)
    if not kinds or EPHYS in kinds:
        _place_ephys(plan, sessions, config)
    plan.sessions = sorted(sessions.values(), key=lambda s: (s.subject_id, s.session))
    for session in plan.sessions:
        _decide(session, kinds, settings_of(config))
    return plan


def _number(numbers: SessionNumbers, subjects: Mapping[str, int], found: Iterable[Source]) -> None:
    by_subject: dict[int, list[tuple[str, datetime]]] = defaultdict(list)
    for source in found:
        if source.h2o in subjects and source.start is not None:
            by_subject[subjects[source.h2o]].append((source.name, source.start))
    for subject_id, sessions in by_subject.items():
        numbers.assign(subject_id, sessions)


def _place_behavior(
    plan: Plan,
    sessions: dict[str, SessionPlan],
    source: Source,
    subjects: Mapping[str, int],
    numbers: SessionNumbers,
    states: Mapping[str, State],
) -> None:
    subject_id = subjects.get(source.h2o)
    number = None if subject_id is None else numbers.number(subject_id, source.name)
    if subject_id is None or number is None or source.start is None:
        reason = (
            f"no animal has the water restriction number {source.h2o!r}; enter it with "
            "`maplake load-animal` or in a sheet that [spreadsheets] of lake.toml names"
        )
        plan.others.append(Item(source, WAITING, reason))
        return
    state = states.get(state_name(subject_id, number), {})
    session = SessionPlan(subject_id, number, source.h2o, source.start, state=dict(state))
    session.items.append(Item(source, PLANNED))
    sessions[source.name] = session


def _place_known(sessions: dict[str, SessionPlan], states: Mapping[str, State]) -> None:
    """Add sessions that are in the lake while their raw behavior file has gone."""
    for state in states.values():
        for known in state.values():
            if known.kind != BEHAVIOR or known.status != IN or known.name in sessions:
                continue
            if known.subject_id is None or known.session is None:
                continue
            start = datetime.fromisoformat(known.start)
            path = Path(known.stat[0][0]) if known.stat else Path(known.name)
            source = Source(BEHAVIOR, known.name, path, known.h2o, start.date(), start=start)
            session = SessionPlan(
                known.subject_id, known.session, known.h2o, start, state=dict(state)
            )
            session.items.append(Item(source, UNCHANGED, GONE))
            sessions[known.name] = session


def _place_ephys(plan: Plan, sessions: Mapping[str, SessionPlan], config: Config) -> None:
    by_day: dict[tuple[str, date], list[SessionPlan]] = defaultdict(list)
    for session in sessions.values():
        by_day[(session.h2o, session.start.date())].append(session)
    found = sources.ephys_sources(config)
    plan.others += [Item(source, SKIPPED, reason) for source, reason in found.skipped]
    for source in found.sources:
        place, reason = _session_of(source, by_day.get((source.h2o, source.day), []))
        if place is None:
            plan.others.append(Item(source, WAITING, reason))
        else:
            place.items.append(Item(source, PLANNED))


def _session_of(
    source: Source, candidates: Sequence[SessionPlan]
) -> tuple[SessionPlan | None, str | None]:
    """Return the session of a day that a recording belongs to, or why there is none."""
    if not candidates:
        return None, f"no behavior session of {source.h2o} on {source.day}"
    if len(candidates) == 1:
        return candidates[0], None
    start = _recording_start(source)
    near = [c for c in candidates if start and _seconds_apart(c, start) <= _SAME_START_S]
    if len(near) == 1:
        return near[0], None
    listed = ", ".join(f"{c.start:%H:%M:%S}" for c in candidates)
    return None, (
        f"{source.h2o} has {len(candidates)} sessions on {source.day} ({listed}) and none, or "
        f"more than one, started within {_SAME_START_S:.0f} s of the recording ({start})"
    )


def _recording_start(source: Source) -> datetime | None:
    """Read the start of a recording, which tells it from others of the same day."""
    part = source.part("recording")
    if part is None:
        return None
    start: datetime | None = part.get_reader().read(part.path).info.get("recording_start")
    return start


def _seconds_apart(session: SessionPlan, start: datetime) -> float:
    return abs((session.start - start).total_seconds())


def settings_of(config: Config) -> dict[str, str]:
    """Return, by kind, a hash over the settings that its rows depend on."""
    text = json.dumps(asdict(config.behavior_context), sort_keys=True, default=str)
    user = config.behavior.session_user
    return {BEHAVIOR: hashlib.sha256(f"{text}\n{user}".encode()).hexdigest()[:16], EPHYS: ""}


def _decide(session: SessionPlan, kinds: Sequence[str], settings: Mapping[str, str]) -> None:
    """Keep ``planned`` only for what must be read; a changed behavior takes its probes along."""
    behavior = session.items[0]
    known = session.state.get((BEHAVIOR, behavior.source.name))
    first = behavior
    if behavior.status == PLANNED:
        first = _status(behavior.source, known, settings, not kinds or BEHAVIOR in kinds)
    is_in = known is not None and known.status == IN
    items = [first]
    for item in session.items[1:]:
        state = session.state.get((item.source.kind, item.source.name))
        wanted = not kinds or item.source.kind in kinds
        if first.status == PLANNED and state is not None and state.status == IN:
            # Aligned to rows that are about to change.
            items.append(Item(item.source, PLANNED))
        elif not is_in and first.status != PLANNED:
            items.append(Item(item.source, WAITING, "its behavior session is not in the lake"))
        else:
            items.append(_status(item.source, state, settings, wanted))
    session.items = _hold_back(items)


def held_back(cause: str) -> str:
    """Say why a source waits for another one of its session."""
    return (
        f"held back because {cause} failed; to take in the others alone, name their kind, as in "
        "`maplake ingest behavior`"
    )


def _hold_back(items: list[Item]) -> list[Item]:
    """Let nothing of a session in while one of its sources is faulty at first sight."""
    faulty = next((item.source.name for item in items if item.status == FAILED), None)
    if faulty is None:
        return items
    return [
        Item(item.source, WAITING, held_back(faulty)) if item.status == PLANNED else item
        for item in items
    ]


def _status(
    source: Source, state: SourceState | None, settings: Mapping[str, str], wanted: bool
) -> Item:
    is_in = state is not None and state.status == IN
    if source.problem is not None:
        return Item(source, FAILED, str(source.problem))
    if source.waits_for is not None:
        return Item(source, UNCHANGED if is_in else WAITING, source.waits_for)
    if is_in and state is not None and same_at_a_glance(source, state, settings):
        return Item(source, UNCHANGED)
    if not wanted:
        if is_in:
            return Item(source, UNCHANGED)
        reason = state.reason if state else "not asked for"
        return Item(source, FAILED if state and state.status == FAILED else WAITING, reason)
    return Item(source, PLANNED)


def same_at_a_glance(source: Source, state: SourceState, settings: Mapping[str, str]) -> bool:
    """Tell, by names, sizes and times alone, whether a source is as it was taken in."""
    return state.settings == settings.get(source.kind, "") and stat_of(source) == state.stat


def stat_of(source: Source) -> list[list[Any]]:
    """Return ``[path, bytes, mtime_ns]`` of a source's files.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If a file has gone or cannot be looked at.
    """
    try:
        return stat_files(source.files())
    except FileNotFoundError as error:
        raise MissingFileError("a file has disappeared", file=error.filename) from error
    except OSError as error:
        raise UnreadableFileError(
            "a file cannot be looked at", file=error.filename, found=error.strerror
        ) from error
