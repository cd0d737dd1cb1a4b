"""Ingest: plan, read, stage and commit, session by session."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context

from maplake.config import Config
from maplake.errors import MaplakeError, NotFoundError
from maplake.ingest import entered, locations
from maplake.ingest.lakes import stage_global, update_catalog, writing
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.plan import (
    FAILED,
    IN,
    PLANNED,
    UNCHANGED,
    WAITING,
    Item,
    Plan,
    SessionPlan,
    held_back,
    make_plan,
)
from maplake.ingest.report import Report, SourceReport, report_item
from maplake.ingest.sources import BEHAVIOR, EPHYS
from maplake.ingest.stage import StagedSession, stage_session
from maplake.ingest.state import SourceState, read_all, read_manifest, read_state, state_json
from maplake.layout import LAKE_NAME, Layout, manifest_file, state_file
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]

#: Everything that ``ingest`` knows, in the order in which it is taken in.
KINDS = ("animals", BEHAVIOR, EPHYS, locations.KIND)

#: The configuration's name for the paths of each kind.
PATHS = {kind: kind for kind in KINDS} | {locations.KIND: "insertion_locations"}


def run(
    config: Config,
    *,
    kinds: Sequence[str] = (),
    subject: int | str | None = None,
    session: int | None = None,
    dry_run: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Report:
    """Take everything new or changed into the lake.

    Parameters
    ----------
    config
        Roots and settings.
    kinds
        What to take in (``animals``, ``behavior``, ``ephys``, ``insertion_location``); empty = all.
    subject
        Only this animal, by subject_id or water restriction number.
    session
        Only this session of it.
    dry_run
        Say what would be done; nothing is written.
    workers
        Number of processes that read and stage; the commits are made by this one.
    progress
        Called with a text, the number of sessions done and their total.

    Returns
    -------
    What became of every source; faults of single sources are in it, not raised.

    Raises
    ------
    NotFoundError
        If a kind is unknown.
    LakeError
        If the lake cannot be written to.
    MissingFileError
        If a configured folder does not exist.
    """
    _check_kinds(kinds)
    for kind in kinds or KINDS:
        config.require_paths(PATHS[kind])
    report = Report(dry_run=dry_run)
    if dry_run:
        layout = Layout(config.lake.root)
        plan = make_plan(config, layout, SessionNumbers(layout), read_all(layout), kinds)
    else:
        if not kinds or "animals" in kinds:
            report.sources += entered.animals_of_config(config)
        with writing(config) as layout:
            numbers = SessionNumbers(layout)
            plan = make_plan(config, layout, numbers, read_all(layout), kinds)
            numbers.save()
    _select(plan, subject, session)
    report.sources += [report_item(item) for item in plan.others]
    if dry_run:
        report.sources += [report_item(i, s.partition) for s in plan.sessions for i in s.items]
        return report
    _ingest(config, plan, report, workers, progress)
    if not kinds or locations.KIND in kinds:
        report.sources += locations.of_config(config)
    update_catalog(config)
    return report


def _check_kinds(kinds: Sequence[str]) -> None:
    for kind in kinds:
        if kind not in KINDS:
            raise NotFoundError(f"there is no kind of source {kind!r}", expected=", ".join(KINDS))


def _select(plan: Plan, subject: int | str | None, session: int | None) -> None:
    if subject is not None:
        plan.sessions = [s for s in plan.sessions if str(subject) in (str(s.subject_id), s.h2o)]
        plan.others = [i for i in plan.others if i.source.h2o == subject]
    if session is not None:
        plan.sessions = [s for s in plan.sessions if s.session == session]
        plan.others = []


def _ingest(
    config: Config,
    plan: Plan,
    report: Report,
    workers: int,
    progress: Progress | None,
) -> None:
    busy = [session for session in plan.sessions if session.todo]
    idle = [session for session in plan.sessions if not session.todo]
    for session in idle:
        report.sources += [_report(session, item) for item in session.items]
    with staging_run(config.lake.root) as name:
        for done, (session, result) in enumerate(_staged(config, name, busy, workers), start=1):
            report.sources += _commit_session(config, session, result)
            if progress:
                text = f"{session.h2o} session {session.session}"
                progress(text, done, len(busy))
    _remember(config, plan.others, idle)


def _report(session: SessionPlan, item: Item, **changes: object) -> SourceReport:
    state = session.state.get((item.source.kind, item.source.name))
    return report_item(item, session.partition, state, **changes)


def _staged(
    config: Config, name: str, sessions: Sequence[SessionPlan], workers: int
) -> Iterator[tuple[SessionPlan, StagedSession]]:
    """Stage sessions, in this process or in several, and yield them in order."""
    if workers <= 1 or len(sessions) <= 1:
        for session in sessions:
            yield session, stage_session(config, name, session)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(sessions)), mp_context=context) as pool:
        jobs = {pool.submit(stage_session, config, name, s): s for s in sessions}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


def _commit_session(
    config: Config, session: SessionPlan, result: StagedSession
) -> list[SourceReport]:
    if result.errors:
        return _keep_out(config, session, result)
    if result.staged is None:
        return [_report(session, item) for item in session.items]
    with writing(config) as layout:
        current = read_state(layout, session.name)
        _publish(layout, session, result, current)
    states = {state.key: state for state in result.states}
    share = result.seconds / max(1, len(states))
    reports = []
    for item in session.items:
        state = states.get((item.source.kind, item.source.name))
        if state is None:
            reports.append(_report(session, item))
        else:
            done = replace(item, status=IN)
            reports.append(report_item(done, session.partition, state, seconds=share))
    return reports


def _publish(
    layout: Layout,
    session: SessionPlan,
    result: StagedSession,
    current: dict[tuple[str, str], SourceState],
) -> None:
    """Commit a staged session: its files, its state and manifest, and global rows."""
    staged = result.staged
    if staged is None:
        return
    run_name = staged.name.split(".")[0]
    extra = Stage(layout, run_name)
    new = {state.key: state for state in result.states}
    old = [path for key in new if key in current for path in current[key].outputs]
    gone = sorted(set(old) - set(staged.writes))
    staged.deletes += gone
    manifest = {
        path: entry
        for path, entry in read_manifest(layout, session.name).items()
        if not _below(path, [*old, *staged.writes])
    } | staged.manifest
    extra.json(manifest_file(session.name), {"files": manifest})
    extra.json(state_file(session.name), state_json((current | new).values()))
    stage_global(extra, layout, result.lookups, replace=False)
    note = {"command": "ingest", "session": session.name, "sources": [k[1] for k in new]}
    commit(layout, [staged, extra.finish()], note)


def _below(path: str, places: Sequence[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def _keep_out(config: Config, session: SessionPlan, result: StagedSession) -> list[SourceReport]:
    """Record which source kept a session out; nothing of the session becomes visible."""
    first = next(iter(result.errors))[1]
    held = held_back(first)
    reports, states = [], []
    for item in session.items:
        key = (item.source.kind, item.source.name)
        if key in result.errors:
            error = result.errors[key]
            log.error("%s", error)
            states.append(_outside(item, FAILED, str(error), session))
            reports.append(_report(session, replace(item, status=FAILED, reason=str(error))))
        elif item.status == PLANNED:
            reports.append(_report(session, replace(item, status=WAITING, reason=held)))
        else:
            reports.append(_report(session, item))
    _record(config, session.name, states)
    return reports


def _outside(
    item: Item, status: str, reason: str | None, session: SessionPlan | None = None
) -> SourceState:
    source = item.source
    return SourceState(
        source.kind,
        source.name,
        status,
        reason,
        session.subject_id if session else None,
        session.session if session else None,
        source.insertion_number,
    )


def _record(config: Config, name: str, states: Sequence[SourceState]) -> None:
    """Remember sources that are not in the lake; those that are in stay as they are."""
    if not states:
        return
    with writing(config) as layout:
        current = read_state(layout, name)
        kept = {s.key: s for s in states if not _is_in(current.get(s.key))}
        merged = current | kept
        if merged != current:
            with staging_run(layout.root) as run_name:
                stage = Stage(layout, run_name)
                stage.json(state_file(name), state_json(merged.values()))
                commit(layout, [stage.finish()], {"command": "ingest", "outside": name})


def _is_in(state: SourceState | None) -> bool:
    return state is not None and state.status == IN


def _remember(config: Config, others: Sequence[Item], idle: Sequence[SessionPlan]) -> None:
    """Remember sources that were skipped or are faulty at first sight."""
    lasting = ("failed", "skipped")
    _record(
        config, LAKE_NAME, [_outside(i, i.status, i.reason) for i in others if i.status in lasting]
    )
    for session in idle:
        _record(
            config,
            session.name,
            [
                _outside(i, i.status, i.reason, session)
                for i in session.items
                if i.status == FAILED and i.status != UNCHANGED
            ],
        )


def rebuild(config: Config, *, workers: int = 1, progress: Progress | None = None) -> Report:
    """Read everything again from the raw files; session numbers stay.

    Each session is replaced in one commit of its own, so the lake stays usable meanwhile.
    Sessions whose raw files have gone are kept.

    Raises
    ------
    MaplakeError
        As :func:`run` does.
    """
    with writing(config) as layout:
        for name, states in read_all(layout).items():
            for state in states.values():
                if state.status == IN:
                    state.settings = state.fingerprint = "to be rebuilt"
            _rewrite(layout, name, list(states.values()))
    return run(config, workers=workers, progress=progress)


def _rewrite(layout: Layout, name: str, states: list[SourceState]) -> None:
    with staging_run(layout.root) as run_name:
        stage = Stage(layout, run_name)
        stage.json(state_file(name), state_json(states))
        commit(layout, [stage.finish()], {"command": "rebuild", "session": name})


__all__ = ["KINDS", "MaplakeError", "rebuild", "run"]
