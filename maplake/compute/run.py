"""``maplake compute``: plan, compute partition by partition, commit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from maplake.compute.ledger import Ledger
from maplake.compute.model import Computation, outputs
from maplake.compute.plan import Books, Task, is_current, orphans, state_key
from maplake.compute.publish import Result, declare, publish, take_away
from maplake.compute.recipes import Recipe, bases_of, recipes_of
from maplake.compute.registry import built_in as built_in_computations
from maplake.compute.registry import find, levels, line_of, load
from maplake.compute.rows import as_rows
from maplake.compute.settled import commits, settle
from maplake.compute.stale import counts_by_session
from maplake.config import Config
from maplake.config.settings import TableSettings
from maplake.errors import MaplakeError, WorkerLostError
from maplake.executors import Executor, Serial, open_executor
from maplake.ingest.lakes import update_catalog
from maplake.ingest.session import FAILED, IN
from maplake.layout import Layout, session_key
from maplake.query.lake import Lake
from maplake.writers.lock import staging_run

__all__ = ["Done", "Report", "run"]

log = logging.getLogger(__name__)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Done:
    """What became of one partition.

    Attributes
    ----------
    table
        Name of the computation.
    subject_id, session, insertion_number
        The partition, as far as the table has one.
    status
        ``in``, ``failed``, ``removed`` (there is nothing any more to compute it from), or
        ``changed`` (an input changed meanwhile; the next run computes it).
    rows
        Number of rows of all its tables.
    seconds
        Time taken, s.
    reason
        What went wrong.
    """

    table: str
    status: str
    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None
    rows: int = 0
    seconds: float = 0.0
    reason: str | None = None


@dataclass
class Report:
    """What became of every partition that was not current, and how many were.

    Attributes
    ----------
    done
        Partitions that were computed, failed or removed.
    current
        Number of partitions that were left as they are.
    """

    done: list[Done] = field(default_factory=list)
    current: int = 0

    @property
    def failed(self) -> int:
        """Number of partitions that could not be computed."""
        return sum(item.status == FAILED for item in self.done)


def run(
    config: Config,
    names: Sequence[str] = (),
    *,
    subject: int | None = None,
    session: int | None = None,
    workers: int = 1,
    scheduler: str | None = None,
    built_in: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Compute every partition that has no rows yet or whose inputs, function or version changed.

    Parameters
    ----------
    config
        Names the lake, and the lab's own modules.
    names
        Tables, with what they are computed from; empty = all.
    subject, session
        Only this animal (subject_id) and session; tables that are one file in all are then left.
    workers
        Number of processes that compute; the commits are made by this one. A task whose process
        is killed is tried again; if that happens each time it has failed.
    scheduler
        Address of a Dask scheduler whose workers compute instead; None = that of ``[dask]``.
    built_in
        Only maplake's own tables; the lab's modules are not run.
    progress
        Called with a text, the number of partitions done and their total in this step; steps
        follow each other where tables are computed from computed ones.

    Returns
    -------
    What became of every partition; an error in one does not stop the others.

    Raises
    ------
    NotFoundError
        If a name is of no computed table.
    ConfigError
        If a module of the lab cannot be run, or its declarations are wrong.
    LakeError
        If the lake cannot be written to.
    ClusterError
        If the Dask cluster cannot be used.
    """
    computations = built_in_computations() if built_in else load(config)
    chosen = find(computations, names)
    declare(config, computations)
    update_catalog(config)
    layout, report = Layout(config.lake.root), Report()
    since = commits(layout)
    recipes = recipes_of(layout.root, computations)
    bases = bases_of(layout, recipes)
    ledger = None if bases is None else Ledger.open(layout, bases)
    wanted = _Wanted(subject, session, ledger)
    where = config.dask.scheduler if scheduler is None else scheduler
    with (
        staging_run(config.lake.root) as staging,
        open_executor(workers, where, config.lake.root) as executor,
    ):
        for step in levels(chosen):
            todo, lost = _due(layout, {c.name: recipes[c.name] for c in step}, wanted, report)
            for book, states in lost.items():
                take_away(config, staging, book, states)
                report.done += [_removed(state) for state in states]
            total, before = sum(map(len, todo)), len(report.done)
            for group in _computed(config, todo, executor, chosen, built_in):
                statuses = publish(config, staging, chosen, group)
                report.done += [_done(r, s) for r, s in zip(group, statuses, strict=True)]
                if progress:
                    progress(group[0].task.computation, len(report.done) - before, total)
            update_catalog(config)
    if ledger is not None:  # for the next one to begin from
        counts_by_session(layout, recipes, others=not built_in)
    if not names and subject is None and session is None:
        settle(config.lake.root, since, staging)
    return report


def _done(result: Result, status: str) -> Done:
    rows = sum(table.num_rows for table in result.rows.values())
    key = result.task.key
    return Done(
        result.task.computation,
        status,
        **key,
        rows=rows if status == IN else 0,
        seconds=result.seconds,
        reason=result.error if status == FAILED else None,
    )


def _removed(state: Any) -> Done:
    name = state.name.split(" ")[0]
    return Done(name, "removed", state.subject_id, state.session, state.insertion_number)


@dataclass(frozen=True)
class _Wanted:
    """What a run is asked for, and what is known to need nothing."""

    subject: int | None
    session: int | None
    ledger: Ledger | None

    def has(self, subject: int | None, session: int | None) -> bool:
        return self.subject in (None, subject) and self.session in (None, session)

    @property
    def idle(self) -> set[str]:
        """The sessions that need not be looked at."""
        return set() if self.ledger is None else self.ledger.idle

    def books(self, layout: Layout) -> Books:
        """Read the records of all others that are asked for."""
        if self.ledger is None:
            return Books.read(layout)
        return Books.read(layout, self._chosen(set(self.ledger.stamps) - self.idle))

    def current(self, names: Collection[str]) -> int:
        """Return how many partitions of some computations are in where nothing is looked at."""
        return 0 if self.ledger is None else self.ledger.total(self._chosen(self.idle), names)

    def _chosen(self, books: Iterable[str]) -> list[str]:
        keys = {book: session_key(book) for book in books}
        return [book for book, key in keys.items() if key and self.has(*key)]


def _due(
    layout: Layout, recipes: Mapping[str, Recipe], wanted: _Wanted, report: Report
) -> tuple[list[list[Task]], dict[str, list[Any]]]:
    """Return the tasks of a step, by session, and the computed rows without inputs."""
    books = wanted.books(layout)
    report.current += wanted.current(recipes)
    groups: dict[str, list[Task]] = {}
    planned = [task for recipe in recipes.values() for task in recipe.tasks(books)]
    for task in planned:
        if not wanted.has(task.key.get("subject_id"), task.key.get("session")):
            continue
        state = books.states.get(task.book, {}).get(state_key(task.computation, task.key))
        if is_current(task, state):
            report.current += 1
        else:
            groups.setdefault(task.book, []).append(task)
    return list(groups.values()), orphans(books, recipes, planned)


def _computed(
    config: Config,
    groups: list[list[Task]],
    executor: Executor,
    known: Mapping[str, Computation],
    built_in: bool,
) -> Iterator[list[Result]]:
    """Compute tasks and yield the results of each session as they are complete."""
    if isinstance(executor, Serial):
        with Lake(config.lake.root) as lake:
            for group in groups:
                yield [compute(lake, known[task.computation], task) for task in group]
        return
    found: dict[str, list[Result]] = {}
    sizes = {group[0].book: len(group) for group in groups}
    every = [task for group in groups for task in group]
    for task, result in executor.run(partial(_work, config, built_in), every):
        if isinstance(result, WorkerLostError):
            result = Result(task, error=str(result))
        ready = found.setdefault(task.book, [])
        ready.append(result)
        if len(ready) == sizes[task.book]:
            yield found.pop(task.book)


def _work(config: Config, built_in: bool, task: Task) -> Result:
    known = _loaded(None if built_in else config.file, config.tables.modules, built_in)
    with Lake(config.lake.root) as lake:
        return compute(lake, known[task.computation], task)


@cache
def _loaded(
    file: Path | None, modules: tuple[Path, ...], only_built_in: bool
) -> dict[str, Computation]:
    """Load the computations once in each process."""
    if only_built_in:
        return built_in_computations()
    return load(Config(file=file, tables=TableSettings(modules)))


def compute(lake: Lake, computation: Computation, task: Task) -> Result:
    """Compute one partition; whatever goes wrong is in the result."""
    begin = time.perf_counter()
    result = Result(task)
    try:
        found = outputs(
            computation(lake, dict(task.key)), [t.full_name for t in computation.tables]
        )
        for table in computation.tables:
            result.rows[table.full_name] = as_rows(table, found[table.full_name], task.key)
    except Exception as error:
        # The function is the lab's own code: anything may come out of it.
        result.rows, result.error = {}, _reason(error, computation)
        # Ours say all that there is; of any other one wants to see where it came from.
        ours = isinstance(error, MaplakeError)
        log.exception("%s %s: %s", computation.name, task.key, result.error, exc_info=not ours)
    result.seconds = time.perf_counter() - begin
    return result


def _reason(error: Exception, computation: Computation) -> str:
    text = str(error) if isinstance(error, MaplakeError) else f"{type(error).__name__}: {error}"
    place = line_of(error, computation.file) if computation.file else None
    return f"{computation.file}, {place}: {text}" if place else text
