"""Where work is done: in this process, in several, or on a Dask cluster.

Ingest and compute hand a function and its tasks to an :class:`Executor` and commit what comes
back, in the order in which it is ready. A worker that dies takes no other task along.

>>> with open_executor(workers=4) as executor:
...     for task, result in executor.run(function, tasks): ...  # doctest: +SKIP
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from maplake.errors import WorkerLostError

__all__ = ["Executor", "Processes", "Serial", "is_cluster", "open_executor"]

T = TypeVar("T")
R = TypeVar("R")

#: How often a task may be there when a worker dies; from the last but one on it runs alone.
TRIES = 3
_MOST_ON_WINDOWS = 61


class Executor(Protocol):
    """What carries out a function for many tasks."""

    def run(
        self, function: Callable[[T], R], tasks: Iterable[T]
    ) -> Iterator[tuple[T, R | WorkerLostError]]:
        """Yield each task with its result, as they are ready.

        Parameters
        ----------
        function
            One that other processes can import, or a ``functools.partial`` of such a one.
        tasks
            What it is called with, one at a time.

        Yields
        ------
        A task and its result, or the error of a task whose worker died each time; what the
        function itself raises is raised here.
        """
        ...  # pragma: no cover


def is_cluster(scheduler: str) -> bool:
    """Whether ``dask.scheduler`` names a cluster: an address, or a scheduler file."""
    return "://" in scheduler or scheduler.endswith(".json")


@contextmanager
def open_executor(
    workers: int = 1, scheduler: str = "", lake: Path | None = None
) -> Iterator[Executor]:
    """Open what does the work; its processes start with the first task and end with the block.

    Parameters
    ----------
    workers
        Number of processes; 1 = this one.
    scheduler
        Address of a Dask scheduler, as ``tcp://host:8786``, or its scheduler file; then
        ``workers`` does not matter. Other words (``threads``) mean none.
    lake
        The lake's folder, which all workers of a cluster must see.

    Raises
    ------
    ClusterError
        If the cluster cannot be reached, or its workers are no use.
    """
    if is_cluster(scheduler):
        from maplake.cluster import Cluster

        with Cluster(scheduler, lake) as cluster:
            yield cluster
    elif workers <= 1:
        yield Serial()
    else:
        with Processes(workers) as pool:
            yield pool


class Serial:
    """One task after another, in the process that asks."""

    def run(
        self, function: Callable[[T], R], tasks: Iterable[T]
    ) -> Iterator[tuple[T, R | WorkerLostError]]:
        """Yield each task with its result."""
        for task in tasks:
            yield task, function(task)


@dataclass
class _Job:
    task: Any
    deaths: int = 0  # of pools that it was in


class Processes:
    """Processes of this machine; a killed one is replaced and its task tried again.

    Parameters
    ----------
    workers
        How many.
    """

    def __init__(self, workers: int) -> None:
        self._workers = min(workers, _MOST_ON_WINDOWS) if os.name == "nt" else workers
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._end(at_once=kind is not None)

    def run(
        self, function: Callable[[T], R], tasks: Iterable[T]
    ) -> Generator[tuple[T, R | WorkerLostError], None, None]:
        """Yield each task with its result, as they are ready."""
        waiting = deque(_Job(task) for task in tasks)
        running: dict[Future[R], _Job] = {}
        while waiting or running:
            broken = not self._submit(function, waiting, running)
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                if isinstance(job.exception(), BrokenProcessPool):
                    broken = True
                    continue
                yield running.pop(job).task, job.result()
            if broken:
                yield from self._sort_out(waiting, running)

    def _submit(
        self,
        function: Callable[[T], R],
        waiting: deque[_Job],
        running: dict[Future[R], _Job],
    ) -> bool:
        """Keep the pool busy, with a task each in reserve; False if it turns out to be broken."""
        while waiting and len(running) < 2 * self._workers:
            if _is_alone(waiting[0]) and running:
                return True
            try:
                job = self._get().submit(function, waiting[0].task)
            except BrokenProcessPool:
                return False
            running[job] = waiting.popleft()
            if _is_alone(running[job]):
                return True
        return True

    def _sort_out(
        self, waiting: deque[_Job], running: dict[Future[R], _Job]
    ) -> Iterator[tuple[Any, R | WorkerLostError]]:
        """After a worker's death: whatever was under way is tried again, suspects one by one."""
        self._end(at_once=True)
        for future, job in list(running.items()):
            del running[future]
            if future.done() and not future.cancelled() and future.exception() is None:
                yield job.task, future.result()
                continue
            job.deaths += 1
            if job.deaths >= TRIES:
                yield (
                    job.task,
                    WorkerLostError(
                        "the process that worked on it was killed or crashed",
                        found=f"{TRIES} times",
                        hint="The usual cause is a lack of memory: use fewer --workers.",
                    ),
                )
            elif _is_alone(job):
                waiting.append(job)
            else:
                waiting.appendleft(job)

    def _get(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._workers, mp_context=get_context("spawn"), initializer=_begin
            )
        return self._pool

    def _end(self, *, at_once: bool) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if at_once:
            # Nothing public ends processes that are at work (before Python 3.14).
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                with suppress(OSError, ValueError, AttributeError):
                    process.kill()
        pool.shutdown(wait=True, cancel_futures=at_once)


def _is_alone(job: _Job) -> bool:
    """Whether a task, after so many deaths, gets the pool to itself to find the culprit."""
    return job.deaths >= TRIES - 1


def _begin() -> None:
    """Prepare a worker: Ctrl-C is its parent's affair, and it does not outlive its parent."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
