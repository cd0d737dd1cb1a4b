"""Where work is done: in this process, in several, or on a Dask cluster.

Ingest and compute hand a function and its tasks to an :class:`Executor` and commit what comes
back, in the order in which it is ready. A worker that dies takes no other task along.

>>> with open_executor(workers=4) as executor:
...     for task, result in executor.run(function, tasks): ...  # doctest: +SKIP
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from pickle import PicklingError
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from maplake.errors import WorkerLostError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

__all__ = ["Executor", "Processes", "Serial", "is_cluster", "open_executor"]

T = TypeVar("T")
R = TypeVar("R")

#: How many workers may die over a task before it is given up.
TRIES = 3
#: How often (s) one who waits looks up: not everywhere does Ctrl-C end a wait.
_LOOK_S = 0.2
#: How long (s) an idle process may take to end.
_LEAVE_S = 5.0


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


class Processes:
    """Processes of this machine; a killed one is replaced and its task tried again.

    A thread attends to each process by a pipe of its own. Unlike those of a
    ``ProcessPoolExecutor`` they share no locks, so that one may be killed at any moment without
    harm to the others, and it is known which task it was at.

    Parameters
    ----------
    workers
        How many.
    """

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._threads = ThreadPoolExecutor(workers)
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all: list[_Worker] = []
        self._guard = threading.Lock()
        self._is_closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with self._guard:
            self._is_closed = True
            workers = list(self._all)
        for worker in workers:
            worker.end(at_once=kind is not None)
        self._threads.shutdown(wait=True, cancel_futures=True)

    def run(
        self, function: Callable[[T], R], tasks: Iterable[T]
    ) -> Iterator[tuple[T, R | WorkerLostError]]:
        """Yield each task with its result, as they are ready."""
        left = iter(tasks)
        jobs: dict[Future[R | WorkerLostError], T] = {}
        while True:
            # One more each than there are processes: they work on while results are committed.
            for task in islice(left, 2 * self._workers - len(jobs)):
                jobs[self._threads.submit(self._carry_out, function, task)] = task
            if not jobs:
                return
            for job in wait(jobs, _LOOK_S, return_when=FIRST_COMPLETED).done:
                yield jobs.pop(job), job.result()

    def _carry_out(self, function: Callable[[T], R], task: T) -> R | WorkerLostError:
        """Have a process carry out a task, and another one if it dies."""
        for _ in range(TRIES):
            worker = self._get()
            try:
                is_well, found = worker.ask(function, task)
            except (EOFError, OSError):
                self._bury(worker)
                continue
            self._idle.put(worker)
            if not is_well:
                raise found
            result: R = found
            return result
        return WorkerLostError(
            "the process that worked on it was killed or crashed",
            found=f"{TRIES} times",
            hint="The usual cause is a lack of memory: use fewer --workers.",
        )

    def _get(self) -> _Worker:
        with suppress(Empty):
            return self._idle.get_nowait()
        with self._guard:
            if self._is_closed:
                raise EOFError
            worker = _Worker()
            self._all.append(worker)
        return worker

    def _bury(self, worker: _Worker) -> None:
        worker.end(at_once=True)
        with self._guard:
            self._all.remove(worker)
            if self._is_closed:
                raise EOFError


class _Worker:
    """A process that carries out one task after another, and the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._ending = threading.Lock()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()  # so that its death ends the pipe

    def ask(self, function: Callable[[T], R], task: T) -> tuple[bool, Any]:
        """Return whether a task went well, and its result or error.

        Raises
        ------
        EOFError, OSError
            If the process dies.
        """
        self._pipe.send((function, task))
        is_well, found = self._pipe.recv()
        return is_well, found

    def end(self, *, at_once: bool) -> None:
        """End the process: whatever it is at, or once it has nothing to do."""
        if at_once:
            self._process.kill()
        # The thread that attends to it ends it as well when it finds it dead.
        with self._ending:
            self._pipe.close()
            self._process.join(_LEAVE_S)
            self._process.kill()
            self._process.join()


def _serve(pipe: Connection) -> None:
    """Carry out what comes through a pipe until its other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            function, task = pipe.recv()
            try:
                answer = True, function(task)
            except Exception as error:
                answer = False, error
            _answer(pipe, answer)


def _answer(pipe: Connection, answer: tuple[bool, Any]) -> None:
    try:
        pipe.send(answer)
    except (PicklingError, TypeError, AttributeError) as error:  # what cannot be sent
        pipe.send((False, TypeError(f"{error}: {answer[1]!r:.500}")))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
