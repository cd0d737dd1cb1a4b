"""The plan: which sources belong to which session, and which of them must be read."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path

from maplake.config import Config
from maplake.errors import IntegrityError, MaplakeError
from maplake.ingest import (
    cache,
    find_behavior,
    find_ephys,
    find_histology,
    find_nidq,
    find_tracking,
)
from maplake.ingest.decide import Again, Wanted, decide, never
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.rivals import settle
from maplake.ingest.seen import Seen
from maplake.ingest.session import (
    FAILED,
    IN,
    MISNAMED,
    PLANNED,
    SKIPPED,
    UNCHANGED,
    WAITING,
    Item,
    SessionPlan,
    State,
)
from maplake.ingest.sources import (
    BEHAVIOR,
    CCF,
    EPHYS,
    HISTOLOGY,
    LFP,
    NIDQ,
    TRACKING,
    Found,
    Source,
)
from maplake.ingest.starts import SAME_START_S, Starts
from maplake.ingest.state import SourceState, read_state, state_name
from maplake.layout import LAKE_NAME, Layout, table_file
from maplake.readers.spikeglx_meta import parse_meta, start_time
from maplake.tables import get

_ANIMALS = "animals.json"  # below the folder of what was found out before

GONE = "in the lake, but its raw files were not found"

#: Finders of the kinds whose sources are placed by animal and day; a kind's sources are also
#: looked for where other kinds need them.
_FINDERS: dict[str, Callable[[Config, Seen], Found]] = {
    EPHYS: find_ephys.find,
    LFP: find_ephys.find_lfp,
    NIDQ: find_nidq.find,
    TRACKING: find_tracking.find,
}
_ALSO = {EPHYS: (HISTOLOGY,)}


@dataclass
class Plan:
    """All sessions, the sources that belong to none, and the folders that were looked through."""

    seen: Seen
    sessions: list[SessionPlan] = field(default_factory=list)
    others: list[Item] = field(default_factory=list)


def subjects_by_h2o(layout: Layout) -> dict[str, int]:
    """Return the animals' numbers by their short names."""
    path = layout.root / table_file(get("lab.water_restriction"), {})
    try:
        info = path.stat()
    except FileNotFoundError:
        return {}
    stamp = f"{info.st_mtime_ns} {info.st_size} {info.st_ino}"
    found: dict[str, int] | None = cache.load(layout, _ANIMALS, stamp)
    if found is None:
        found = _read_subjects(path)
        cache.save(layout, _ANIMALS, stamp, found)
    return found


def _read_subjects(path: Path) -> dict[str, int]:
    import pyarrow.parquet as pq

    columns = ["water_restriction_number", "subject_id"]
    try:
        table = pq.ParquetFile(path).read(columns).to_pydict()
        return dict(zip(*(table[name] for name in columns), strict=True))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            "a table of the lake is damaged",
            file=path,
            found=str(error),
            hint="`maplake check` says which command repairs it.",
        ) from error


def make_plan(
    config: Config,
    layout: Layout,
    numbers: SessionNumbers,
    states: Mapping[str, State],
    kinds: Sequence[str] = (),
    *,
    replace: bool = False,
    again: Again = never,
    animals: Mapping[str, int] | None = None,
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
    replace
        Whether a new sorting or histology of a probe replaces the one in the lake.
    again
        Tells which sources are to be read again although nothing changed.
    animals
        Animals' numbers by their short names, of those that are to be entered first.
    """
    plan = Plan(Seen(layout))
    subjects = {**subjects_by_h2o(layout), **(animals or {})}
    behavior = find_behavior.find(config, plan.seen)
    _number(numbers, subjects, behavior.sources)
    sessions: dict[str, SessionPlan] = {}
    for source in behavior.sources:
        _place_behavior(plan, sessions, source, subjects, numbers, states)
    plan.others += [Item(source, SKIPPED, reason) for source, reason in behavior.skipped]
    _place_known(sessions, states)
    _place_others(plan, sessions, config, kinds, Starts(layout), plan.seen)
    plan.sessions = sorted(sessions.values(), key=lambda s: (s.subject_id, s.session))
    if not kinds or HISTOLOGY in kinds:
        plan.others += find_histology.place(config, plan.sessions)
    wanted = Wanted(kinds, settings_of(config), replace, again)
    for session in plan.sessions:
        decide(session, wanted)
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
    if source.problem is not None or source.expected is not None:
        plan.others.append(_unplaced(source))
        return
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


def _unplaced(source: Source) -> Item:
    """Return what is said of a source that is of no session: it is faulty, or its name is."""
    if source.expected is not None:
        return Item(source, MISNAMED, f"its name fits no pattern; expected {source.expected}")
    return Item(source, FAILED, str(source.problem))


def _place_known(sessions: dict[str, SessionPlan], states: Mapping[str, State]) -> None:
    """Add sessions that are in the lake while their raw behavior file has gone."""
    for state in states.values():
        for known in state.values():
            if known.kind != BEHAVIOR or known.status != IN:
                continue
            if known.subject_id is None or known.session is None:
                continue
            if known.name in sessions:
                _check_number(sessions[known.name], known)
                continue
            start = datetime.fromisoformat(known.start)
            path = Path(known.path)
            source = Source(BEHAVIOR, known.name, path, known.h2o, start.date(), start=start)
            session = SessionPlan(
                known.subject_id, known.session, known.h2o, start, state=dict(state)
            )
            session.items.append(Item(source, UNCHANGED, GONE))
            sessions[known.name] = session


def _check_number(session: SessionPlan, known: SourceState) -> None:
    """Refuse a number that is not the one under which a session is in the lake."""
    if session.subject_id == known.subject_id and session.session != known.session:
        raise IntegrityError(
            "the registry of session numbers is not what was written",
            place=known.name,
            found=f"session {session.session}",
            expected=f"session {known.session}, as in the lake",
            hint="`maplake rebuild --spare` puts it right.",
        )


def _place_others(
    plan: Plan,
    sessions: Mapping[str, SessionPlan],
    config: Config,
    kinds: Sequence[str],
    starts: Starts,
    seen: Seen,
) -> None:
    """Add the sources that belong to a behavior session to its plan."""
    by_day: dict[tuple[str, date], list[SessionPlan]] = defaultdict(list)
    for session in sorted(sessions.values(), key=lambda s: s.start):
        by_day[(session.h2o, session.start.date())].append(session)
    for kind, find in _FINDERS.items():
        if kinds and not set(kinds) & {kind, *_ALSO.get(kind, ())}:
            continue
        found = find(config, seen)
        plan.others += [Item(source, SKIPPED, reason) for source, reason in found.skipped]
        for source in found.sources:
            if source.expected is not None:
                plan.others.append(_unplaced(source))
                continue
            try:
                place, reason = _session_of(
                    source, by_day.get((source.h2o, source.day), []), starts
                )
            except MaplakeError as error:  # of the file that tells when the recording began
                plan.others.append(Item(source, FAILED, str(error)))
                continue
            if place is None:
                status = FAILED if source.problem is not None else WAITING
                plan.others.append(Item(source, status, reason))
            else:
                place.items.append(Item(source, PLANNED))
    for session in sessions.values():
        plan.others += settle(session, partial(_is_far, session=session, starts=starts))


def _session_of(
    source: Source, candidates: Sequence[SessionPlan], starts: Starts
) -> tuple[SessionPlan | None, str | None]:
    """Return the session of a day that a recording belongs to, or why there is none."""
    if source.problem is not None and not source.h2o:
        return None, str(source.problem)
    if not candidates:
        return None, f"no behavior session of {source.h2o} on {source.day}"
    if source.nth is not None:
        if source.nth <= len(candidates):
            return candidates[source.nth - 1], None
        return (
            None,
            f"{source.h2o} has {len(candidates)} sessions on {source.day}, not {source.nth}",
        )
    if len(candidates) == 1:
        return candidates[0], None
    start = _recording_start(source)
    fits = [starts.fits(c, start) for c in candidates] if start else []
    for one in zip(*fits, strict=True):  # by behavior's own clock, else by the names of its files
        if sum(one) == 1:
            return candidates[one.index(True)], None
    listed = ", ".join(f"{starts.of(c)[0]:%H:%M:%S}" for c in candidates)
    return None, (
        f"{source.h2o} has {len(candidates)} sessions on {source.day} ({listed}) and none, or "
        f"more than one, started within {SAME_START_S:.0f} s of the recording ({start})"
    )


def _recording_start(source: Source) -> datetime | None:
    """Read the start of a recording, which tells it from others of the same day."""
    if source.kind == NIDQ:
        return start_time(parse_meta(source.path))
    part = source.part("recording")
    if part is None:
        return None
    start: datetime | None = part.read().info.get("recording_start")
    return start


def _is_far(source: Source, session: SessionPlan, starts: Starts) -> bool:
    """Tell whether a recording, where it says when it began, did not begin with the session."""
    try:
        start = _recording_start(source)
    except MaplakeError:
        return True
    return start is not None and not any(starts.fits(session, start))


def settings_of(config: Config) -> dict[str, str]:
    """Return, by kind, a hash over the settings that its rows depend on."""
    text = json.dumps(asdict(config.behavior_context), sort_keys=True, default=str)
    user = config.behavior.session_user
    # Histology is rounded to the grid of the lake's annotation volume, and held against it.
    volume = read_state(Layout(config.lake.root), LAKE_NAME).get((CCF, config.ccf.version_name))
    files = sorted(volume.files.values()) if volume is not None else []
    return {
        BEHAVIOR: _digest(f"{text}\n{user}"),
        HISTOLOGY: _digest(f"{config.ccf.version_name} {config.ccf.resolution_um} {files}"),
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
