"""Staging sessions side by side and committing them one by one, beside other writers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from maplake.config import Config
from maplake.errors import SourceChangedError, WorkerLostError
from maplake.executors import Executor, open_executor
from maplake.ingest.publish import as_they_are, publish
from maplake.ingest.report import SourceReport
from maplake.ingest.session import SessionPlan
from maplake.ingest.stage import stage_session
from maplake.ingest.work import StagedSession
from maplake.layout import Layout
from maplake.writers import files
from maplake.writers.commit import recover_if_needed
from maplake.writers.lock import staging_run

Progress = Callable[[str, int, int], None]
#: Makes new plans of sessions, by their names.
Replan = Callable[[set[str]], Sequence[SessionPlan]]

#: How often a session that other writers change meanwhile is planned anew.
_ROUNDS = 5


@dataclass(frozen=True)
class How:
    """Who works: processes of this machine or a Dask scheduler's; and who is told."""

    workers: int = 1
    scheduler: str = ""
    progress: Progress | None = None


def take_in(
    config: Config, sessions: Sequence[SessionPlan], replan: Replan, how: How
) -> list[SourceReport]:
    """Stage and commit sessions.

    Parameters
    ----------
    config
        Settings.
    sessions
        Those with something to read.
    replan
        Called for sessions that another writer changed between plan and commit.
    how
        Who works.

    Returns
    -------
    What became of each of their sources.
    """
    reports: list[SourceReport] = []
    if not sessions:
        return reports
    layout = Layout(config.lake.root)
    with (
        staging_run(layout.root) as run,
        _swept(layout, run),
        open_executor(min(how.workers, len(sessions)), how.scheduler, layout.root) as executor,
    ):
        busy, total = list(sessions), len(sessions)
        for _ in range(_ROUNDS):
            overtaken = set()
            for session, found in _published(config, run, executor, busy):
                if found is None:
                    overtaken.add(session.name)
                    continue
                reports += found
                if how.progress:
                    done = total - len(busy) + len({r.session for r in reports})
                    how.progress(f"{session.h2o} session {session.session}", done, total)
            if not overtaken:
                return reports
            again = replan(overtaken)
            reports += as_they_are(s for s in again if not s.todo)
            busy = [s for s in again if s.todo]
        for session in busy:
            reports += publish(config, session, _failed(session, _overtaken())) or []
    return reports


def _published(
    config: Config, run: str, executor: Executor, sessions: Iterable[SessionPlan]
) -> Iterator[tuple[SessionPlan, list[SourceReport] | None]]:
    for session, result in executor.run(partial(stage_session, config, run), sessions):
        if isinstance(result, WorkerLostError):
            result = _failed(session, result)
        yield session, publish(config, session, result)


def _failed(session: SessionPlan, error: WorkerLostError | SourceChangedError) -> StagedSession:
    return StagedSession(errors={session.todo[0].source.key: error})


def _overtaken() -> SourceChangedError:
    return SourceChangedError(
        "other writers changed the session in the lake again and again",
        hint="Run ingest again when they have finished.",
    )


@contextmanager
def _swept(layout: Layout, run: str) -> Iterator[None]:
    """Leave nothing staged behind, however the run ends; a decided commit is finished."""
    try:
        yield
    finally:
        recover_if_needed(layout.root)
        if not any(layout.journal.glob(f"{run}.*")):
            for leftover in layout.staging.glob(f"{run}.*"):
                if leftover.suffix != ".alive":
                    files.discard(leftover)
