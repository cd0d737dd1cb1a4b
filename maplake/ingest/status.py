"""Where every source stands, without reading any of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from maplake.config import Config
from maplake.ingest.decide import ORDER, held_back
from maplake.ingest.index import read_index
from maplake.ingest.lakes import check_version
from maplake.ingest.locations import KIND as LOCATION
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.outdated import outdated_by
from maplake.ingest.plan import GONE, make_plan
from maplake.ingest.report import SourceReport, report_item
from maplake.ingest.session import (
    ABSENT,
    DELETED,
    FAILED,
    IN,
    OUTDATED,
    PLANNED,
    UNCHANGED,
    WAITING,
    Item,
    SessionPlan,
)
from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, TRACKING
from maplake.ingest.state import SourceState
from maplake.layout import Layout
from maplake.readers.base import Edition


def status(config: Config) -> list[SourceReport]:
    """Return, per session and source, whether it is in, absent, deleted, waits or failed, and why.

    Absent are ephys and tracking of a session, and histology and location of a probe insertion,
    where lake.toml says where to look for them and nothing was found. Outdated is what a reader
    wrote that was corrected since.

    Raises
    ------
    LakeVersionError
        If the lake was written by a newer maplake.
    MissingFileError
        If a configured folder does not exist.
    """
    layout = Layout(config.lake.root)
    check_version(layout)
    states = read_index(layout)
    plan = make_plan(config, layout, SessionNumbers(layout), states)
    editions = plan.seen.editions
    plan.seen.save()
    reports: list[SourceReport] = []
    for session in plan.sessions:
        held = _held(session)
        reports += [_of_item(session, item, editions, held) for item in session.items]
        reports += _of_states(session, editions)
        reports += _absent(config, session)
    return reports + [report_item(item) for item in plan.others]


def _absent(config: Config, session: SessionPlan) -> Iterator[SourceReport]:
    known = session.state.values()
    deleted = {(s.kind, s.insertion_number) for s in known if s.status == DELETED}
    if (BEHAVIOR, None) in deleted:
        return
    found = {(item.source.kind, item.source.insertion_number) for item in session.items} | deleted
    found |= {(s.kind, s.insertion_number) for s in known if s.status == IN}
    kinds = {kind for kind, _ in found}
    insertions = sorted(n for kind, n in found - deleted if kind == EPHYS and n is not None)
    of_session: dict[str, Sequence[object]] = {
        EPHYS: config.ephys.paths,
        TRACKING: config.tracking.rigs,
    }
    for kind, roots in of_session.items():
        if roots and kind not in kinds:
            yield _missing(session, kind, None)
    of_insertion: dict[str, Sequence[object]] = {
        HISTOLOGY: config.histology.paths,
        LOCATION: config.spreadsheets.insertion_locations,
    }
    for kind, roots in of_insertion.items():
        for number in insertions:
            if roots and (kind, number) not in found:
                yield _missing(session, kind, number)


_NOTHING = {
    EPHYS: "nothing was found below [ephys] paths",
    TRACKING: "nothing was found below the folders of [tracking] rigs",
    HISTOLOGY: "nothing was found below [histology] paths",
    LOCATION: "nothing was found: no row of the sheets [spreadsheets] insertion_locations is of it",
}


def _missing(session: SessionPlan, kind: str, insertion_number: int | None) -> SourceReport:
    name = f"{session.h2o}/{session.start:%Y%m%d_%H%M%S}"
    name += f"/{insertion_number}" if insertion_number else ""
    return SourceReport(
        kind,
        name,
        ABSENT,
        _NOTHING[kind],
        session.subject_id,
        session.session,
        insertion_number,
        session.h2o,
    )


_HOW = "`maplake rebuild --outdated` reads it again"
_NOT_FOUND = "its raw files were not found"


def _held(session: SessionPlan) -> str | None:
    """Return why the next ingest takes nothing of a session in, where a source failed the last."""
    for item in session.todo:
        state = session.state.get(item.source.key)
        if state is not None and state.status == FAILED:
            return held_back(*item.source.key)
    return None


def _of_item(
    session: SessionPlan, item: Item, editions: Mapping[str, Edition], held: str | None
) -> SourceReport:
    state = session.state.get((item.source.kind, item.source.name))
    report = report_item(item, session.partition, state)
    if item.status == UNCHANGED:
        report.status = IN
        why = outdated_by(state, editions) if state is not None else []
        if why:
            report.status = OUTDATED
            report.reason = "; ".join([*why, _NOT_FOUND if item.reason == GONE else _HOW])
    elif item.status == PLANNED:
        report.status, report.reason = _waiting(state)
        if held is not None and report.status == WAITING:
            report.reason = held
        if item.reason is not None:  # a remark
            report.reason = f"{report.reason}; {item.reason}"
    return report


def _waiting(state: SourceState | None) -> tuple[str, str]:
    if state is None:
        return WAITING, "new: the next ingest reads it"
    if state.status == FAILED:
        return FAILED, state.reason or "unknown"
    return WAITING, "its files or settings changed: the next ingest reads it again"


def _of_states(session: SessionPlan, editions: Mapping[str, Edition]) -> Iterator[SourceReport]:
    """Yield what the lake has of a session though nothing of it was found, or from a sheet."""
    found = {item.source.key for item in session.items}
    for key, state in session.state.items():
        is_lost = state.kind in ORDER and key not in found
        if state.kind == LOCATION or (is_lost and state.status == DELETED):
            yield _of_state(state, session.h2o)
        elif is_lost and state.status == IN:
            report = _of_state(state, session.h2o)
            why = outdated_by(state, editions)
            report.status = OUTDATED if why else IN
            report.reason = "; ".join([*why, _NOT_FOUND]) if why else GONE
            yield report


def _of_state(state: SourceState, h2o: str) -> SourceReport:
    return SourceReport(
        state.kind,
        state.name,
        state.status,
        state.reason,
        state.subject_id,
        state.session,
        state.insertion_number,
        h2o,
        state.row_count,
        state.skipped,
    )
