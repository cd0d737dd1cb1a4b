"""From staged sessions to commits, and what is remembered of those that stay out."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maplake.config import Config
from maplake.ingest.decide import held_back
from maplake.ingest.lakes import catalog_kept, stage_global, writing
from maplake.ingest.outdated import changes_of, take_out
from maplake.ingest.report import SourceReport, report_item
from maplake.ingest.session import (
    FAILED,
    IN,
    PLANNED,
    SKIPPED,
    WAITING,
    Item,
    SessionPlan,
    State,
    is_overtaken,
)
from maplake.ingest.state import SourceState, read_manifest, read_state, state_json
from maplake.layout import LAKE_NAME, Layout, manifest_file, state_file
from maplake.tables import get
from maplake.writers import files
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run
from maplake.writers.staged import Staged

if TYPE_CHECKING:
    from maplake.ingest.work import StagedSession

log = logging.getLogger(__name__)


def report_of(session: SessionPlan, item: Item, **changes: object) -> SourceReport:
    """Return the report of a planned source of a session, with what its state knows."""
    return report_item(item, session.partition, session.state.get(item.source.key), **changes)


def as_they_are(sessions: Iterable[SessionPlan]) -> list[SourceReport]:
    """Return the reports of sessions that are left alone."""
    return [report_of(session, item) for session in sessions for item in session.items]


def publish(
    config: Config, session: SessionPlan, result: StagedSession
) -> list[SourceReport] | None:
    """Commit a staged session, or remember what kept it out.

    Returns
    -------
    What became of each of its sources; None if another writer changed the session since it was
    planned: nothing is committed then.
    """
    if result.errors:
        return _keep_out(config, session, result)
    if result.overtaken:
        return None
    if result.staged is None:
        return as_they_are([session])
    with writing(config) as layout:
        current = read_state(layout, session.name)
        if is_overtaken(session, current):
            files.remove(layout.staging / result.staged.name)
            return None
        with catalog_kept(config, [result.staged]):
            _commit(layout, session, result, result.staged, current)
    states = {state.key: state for state in result.states}
    share = result.seconds / max(1, len(states))
    reports = []
    for item in session.items:
        state = states.get(item.source.key)
        if state is None:
            reports.append(report_of(session, item))
        else:
            done = dataclasses.replace(item, status=IN)
            reports.append(report_item(done, session.partition, state, seconds=share))
    return reports


def _commit(
    layout: Layout, session: SessionPlan, result: StagedSession, staged: Staged, current: State
) -> None:
    """Commit a session's files with its state and manifest and the global rows it needs."""
    extra = Stage(layout, staged.name.split(".")[0])
    new = {state.key: state for state in result.states}
    old = [path for key in new if key in current for path in current[key].outputs]
    staged.deletes += sorted(set(old) - set(staged.writes))
    stage_records(extra, layout, session.name, current | new, staged, gone=old)
    corrected = [item for item in result.lookups if get(item[0]).kind]
    others = [item for item in result.lookups if not get(item[0]).kind]
    stage_global(extra, layout, others, replace=False)
    stage_global(extra, layout, corrected, replace=True)
    note: dict[str, Any] = {
        "command": "ingest",
        "session": session.name,
        "sources": [key[1] for key in new],
    }
    note["changes"] = [changes_of(current.get(key), state) for key, state in new.items()]
    commit(layout, [staged, extra.finish()], note)


def stage_records(
    stage: Stage,
    layout: Layout,
    name: str,
    states: Mapping[tuple[str, str], SourceState],
    staged: Staged,
    *,
    gone: Sequence[str] = (),
) -> None:
    """Stage the state and manifest of a session; what was computed from changed files goes.

    Parameters
    ----------
    stage
        Where to.
    layout, name
        The lake and the session's name.
    states
        All its sources.
    staged
        The files that are added.
    gone
        Files and folders that are removed or replaced.
    """
    replaced = {*gone, *staged.writes}
    kept = {
        path: entry
        for path, entry in read_manifest(layout, name).items()
        if not any(path == place or path.startswith(f"{place}/") for place in replaced)
    }
    listed = kept | staged.manifest
    states, outdated = take_out(states, listed, replaced)
    for path in outdated:
        stage.delete(path)
        del listed[path]
    stage.json(manifest_file(name), {"files": listed})
    stage.json(state_file(name), state_json(states.values()))


def _keep_out(config: Config, session: SessionPlan, result: StagedSession) -> list[SourceReport]:
    """Record which source kept a session out; nothing of the session becomes visible."""
    held = held_back(*next(iter(result.errors)))
    reports, states = [], []
    for item in session.items:
        error = result.errors.get(item.source.key)
        if error is not None:
            log.error("%s", error, extra={"is_reported": True})
            item = dataclasses.replace(item, status=FAILED, reason=str(error))
            states.append(_outside(item, session))
        elif item.status == PLANNED:
            item = dataclasses.replace(item, status=WAITING, reason=held)
        reports.append(report_of(session, item))
    _record(config, session.name, states)
    return reports


def _outside(item: Item, session: SessionPlan | None = None) -> SourceState:
    source = item.source
    return SourceState(
        source.kind,
        source.name,
        item.status,
        item.reason,
        session.subject_id if session else None,
        session.session if session else None,
        source.insertion_number,
        path=str(source.path),
        h2o=source.h2o,
    )


def remember(config: Config, others: Sequence[Item], idle: Sequence[SessionPlan]) -> None:
    """Remember sources that were skipped, are faulty at first sight, or were only touched."""
    lasting = [item for item in others if item.status in (FAILED, SKIPPED)]
    _record(config, LAKE_NAME, [_outside(item) for item in lasting])
    for session in idle:
        faulty = [_outside(i, session) for i in session.items if i.status == FAILED]
        _record(config, session.name, faulty + _touched(config, session))


def _touched(config: Config, session: SessionPlan) -> list[SourceState]:
    """Return the states of sources whose files were touched; not of one taken in anew meanwhile."""
    items = {item.source.key: item for item in session.items if item.stat is not None}
    known = read_state(Layout(config.lake.root), session.name) if items else {}
    return [
        _moved(known[key], item)
        for key, item in items.items()
        if key in known and known[key].fingerprint == session.state[key].fingerprint
    ]


def _moved(state: SourceState, item: Item) -> SourceState:
    """Return the state of a source that is the same as before, at another place or of other times.

    A file is known by its path below the source's.
    """
    old, new = state.path, item.source.path
    files = {
        os.path.normpath(new / os.path.relpath(name, old)): digest
        for name, digest in state.files.items()
    }
    return dataclasses.replace(state, path=str(new), files=files, stat=item.stat or [])


def _record(config: Config, name: str, states: Sequence[SourceState]) -> None:
    """Remember sources without changing the lake; failures do not hide what is in it."""
    if not states:
        return
    with writing(config) as layout:
        current = read_state(layout, name)
        news = {s.key: s for s in states if s.status == IN or not _is_in(current.get(s.key))}
        merged = current | news
        if merged != current:
            rewrite(layout, name, merged, "remember")


def _is_in(state: SourceState | None) -> bool:
    return state is not None and state.status == IN


def rewrite(
    layout: Layout, name: str, states: Mapping[tuple[str, str], SourceState], why: str
) -> None:
    """Replace a state file; the caller holds the write lock."""
    with staging_run(layout.root) as run:
        stage = Stage(layout, run)
        stage.json(state_file(name), state_json(states.values()))
        commit(layout, [stage.finish()], {"command": why, "session": name})
