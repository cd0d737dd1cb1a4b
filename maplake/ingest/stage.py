"""One session from raw files to staged files; runs in a process of its own where asked to."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any

from maplake.config import Config
from maplake.errors import LakeError, MaplakeError, SourceChangedError, UnreadableFileError
from maplake.ingest import behavior, ephys, histology, lfp, nidq, tracking
from maplake.ingest.archive import stage_archive
from maplake.ingest.decide import NEEDS, stat_of
from maplake.ingest.plan import settings_of
from maplake.ingest.session import IN, Item, SessionPlan, is_overtaken
from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, LFP, NIDQ, TRACKING, Source
from maplake.ingest.state import SourceState, fingerprint, hash_file, read_state
from maplake.ingest.work import StagedSession, Work
from maplake.layout import Layout
from maplake.writers.files import lake_faults

#: What was seen of a source's files: names, sizes and times, then hashes by path.
_Look = tuple[list[list[Any]], dict[str, str]]

#: What reads a source of each kind and stages its rows.
TAKERS: dict[str, Callable[[Work, Item, SourceState], None]] = {
    BEHAVIOR: behavior.take,
    EPHYS: ephys.take,
    LFP: lfp.take,
    NIDQ: nidq.take,
    TRACKING: tracking.take,
    HISTOLOGY: histology.take,
}


def stage_session(config: Config, run: str, plan: SessionPlan) -> StagedSession:
    """Read the sources of a session that must be read, and stage their files.

    Parameters
    ----------
    config
        Settings.
    run
        Name of the run, for its staging folder.
    plan
        The session.
    """
    begin = time.perf_counter()
    work = Work(config, Layout(config.lake.root), plan, run)
    if is_overtaken(plan, read_state(work.layout, plan.name)):
        return StagedSession(overtaken=True)
    # Hashing leaves the interpreter to others, so it costs little beside reading.
    pool = ThreadPoolExecutor(1)
    looks = {item.source.key: pool.submit(_look, item.source) for item in plan.todo}
    try:
        with lake_faults(work.layout.root):
            out: set[str] = set()
            for item in plan.todo:
                if NEEDS.get(item.source.kind) in out:  # aligned to what failed
                    out.add(item.source.kind)
                    continue
                try:
                    _take(work, item, looks[item.source.key])
                except LakeError:
                    raise
                except MaplakeError as error:
                    work.result.errors[item.source.key] = error
                    out.add(item.source.kind)
            result = work.finish()
    except BaseException:
        work.abandon()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    result.seconds = time.perf_counter() - begin
    return result


def _take(work: Work, item: Item, look: Future[_Look]) -> None:
    """Read one source and stage its rows."""
    source = item.source
    before = stat_of(source)
    state = SourceState(source.kind, source.name, IN)
    TAKERS[source.kind](work, item, state)
    if item.replaces:
        old = work.plan.state[source.key]
        work.result.states.append(stage_archive(work.stage, work.layout, old))
    stat, state.files = look.result()
    if not stat == before == stat_of(source):
        raise SourceChangedError(
            "the files changed while they were read",
            file=source.path,
            hint="It will be read again by the next ingest.",
        )
    _complete(work, source, state, before)


def _complete(work: Work, source: Source, state: SourceState, stat: list[list[Any]]) -> None:
    base = source.path if source.path.is_dir() else source.path.parent
    state.fingerprint = fingerprint(state.files, base)
    state.stat = stat
    state.subject_id, state.session = work.plan.subject_id, work.plan.session
    state.insertion_number = source.insertion_number
    state.path = str(source.path)
    state.h2o = source.h2o
    state.start = source.start.isoformat() if source.start else ""
    if not state.reader:
        main = source.parts[-1].get_reader()
        state.reader, state.reader_version = main.name, main.version
    state.readers = {part.reader: part.get_reader().version for part in source.parts}
    state.settings = settings_of(work.config).get(source.kind, "")
    state.time = datetime.now().isoformat(timespec="seconds")
    if source.kind in NEEDS:
        state.depends = work.print_of(NEEDS[source.kind], source.insertion_number)
    work.result.states.append(state)


def _look(source: Source) -> _Look:
    """Return names, sizes and times of a source's files, and after that their hashes."""
    stat = stat_of(source)
    try:
        return stat, {str(path): hash_file(path) for path in source.files()}
    except OSError as error:
        raise UnreadableFileError(
            "a file cannot be read", file=error.filename, found=error.strerror
        ) from error
