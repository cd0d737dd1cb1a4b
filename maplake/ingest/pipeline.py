"""Ingest: plan, read, stage and commit, session by session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from maplake.config import Config
from maplake.errors import NotFoundError
from maplake.ingest import archive, ccf, entered, locations, session_meta
from maplake.ingest.lakes import update_catalog, writing
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.plan import Plan, make_plan
from maplake.ingest.publish import publish, remember, report_of, rewrite
from maplake.ingest.report import Report, report_item
from maplake.ingest.session import IN, SessionPlan
from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, LFP, NIDQ, TRACKING
from maplake.ingest.stage import stage_session
from maplake.ingest.state import read_all
from maplake.ingest.work import StagedSession
from maplake.layout import Layout
from maplake.writers.lock import staging_run

Progress = Callable[[str, int, int], None]

#: Everything that ``ingest`` knows, in the order in which it is taken in.
KINDS = (
    ccf.KIND,
    entered.LAB,
    entered.ANIMALS,
    BEHAVIOR,
    EPHYS,
    LFP,
    NIDQ,
    locations.KIND,
    TRACKING,
    HISTOLOGY,
)

#: The configuration's name for the paths of each kind.
PATHS = {
    ccf.KIND: ("ccf",),
    entered.LAB: ("foraging",),
    entered.ANIMALS: ("animals",),
    BEHAVIOR: ("behavior", "foraging"),
    EPHYS: ("ephys",),
    LFP: ("ephys",),
    NIDQ: ("ephys",),
    locations.KIND: ("insertion_locations",),
    TRACKING: ("tracking",),
    HISTOLOGY: ("histology",),
}

#: What is loaded as a whole before the sessions, and after them.
_FIRST = {
    ccf.KIND: ccf.of_config,
    entered.LAB: entered.lab_of_config,
    entered.ANIMALS: entered.animals_of_config,
}
_LAST = {BEHAVIOR: session_meta.of_config, locations.KIND: locations.of_config}


def run(
    config: Config,
    *,
    kinds: Sequence[str] = (),
    subject: int | str | None = None,
    session: int | None = None,
    replace: bool = False,
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
        What to take in, of :data:`KINDS`; empty = all.
    subject
        Only this animal, by subject_id or water restriction number.
    session
        Only this session of it.
    replace
        Let a new sorting or histology of a probe replace the one in the lake, which goes to the
        archive.
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
    ConfigError
        If a configured path does not exist.
    LakeError
        If the lake cannot be written to.
    """
    _check_kinds(kinds)
    for name in dict.fromkeys(path for kind in kinds or KINDS for path in PATHS[kind]):
        config.require_paths(name)
    report = Report(dry_run=dry_run)
    if dry_run:
        layout = Layout(config.lake.root)
        numbers = SessionNumbers(layout)
        plan = make_plan(config, layout, numbers, read_all(layout), kinds, replace=replace)
        _select(plan, subject, session)
        report.sources += [report_item(item) for item in plan.others]
        report.sources += [report_of(s, item) for s in plan.sessions for item in s.items]
        return report
    for kind, load in _FIRST.items():
        if not kinds or kind in kinds:
            report.sources += load(config)
    with writing(config) as layout:
        numbers = SessionNumbers(layout)
        plan = make_plan(config, layout, numbers, read_all(layout), kinds, replace=replace)
        numbers.save()
    _select(plan, subject, session)
    report.sources += [report_item(item) for item in plan.others]
    _ingest(config, plan, report, workers, progress)
    for kind, load in _LAST.items():
        if not kinds or kind in kinds:
            report.sources += load(config)
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
    config: Config, plan: Plan, report: Report, workers: int, progress: Progress | None
) -> None:
    busy = [session for session in plan.sessions if session.todo]
    idle = [session for session in plan.sessions if not session.todo]
    for session in idle:
        report.sources += [report_of(session, item) for item in session.items]
    with staging_run(config.lake.root) as name:
        for done, (session, result) in enumerate(_staged(config, name, busy, workers), start=1):
            report.sources += publish(config, session, result)
            if progress:
                progress(f"{session.h2o} session {session.session}", done, len(busy))
    remember(config, plan.others, idle)


def _staged(
    config: Config, name: str, sessions: Sequence[SessionPlan], workers: int
) -> Iterator[tuple[SessionPlan, StagedSession]]:
    """Stage sessions, in this process or in several, and yield them as they are ready."""
    if workers <= 1 or len(sessions) <= 1:
        for session in sessions:
            yield session, stage_session(config, name, session)
        return
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(sessions)), mp_context=context) as pool:
        jobs = {pool.submit(stage_session, config, name, s): s for s in sessions}
        for job in as_completed(jobs):
            yield jobs[job], job.result()


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
                if state.status == IN and state.kind != archive.KIND:
                    state.settings = state.fingerprint = "to be rebuilt"
            rewrite(layout, name, states, "rebuild")
    return run(config, workers=workers, progress=progress)
