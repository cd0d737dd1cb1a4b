"""Reading beside writers: a read that a commit overlaps is repeated.

A commit renames its files one after another while its record lies in ``.maplake/journal``. Both
its coming and its going change that folder's time of change. So whoever finds the folder empty and
unchanged before and after a read has read between two commits: no lock, and two looks at a folder.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from maplake.errors import LakeLockedError, QueryError
from maplake.layout import Layout
from maplake.lockfile import HeldError, Lock
from maplake.query.refusal import refused

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Result", "Steady", "steady_frame"]

T = TypeVar("T")
Stamp = tuple[int, int]

#: Two changes within one tick of the file system's clock look like one; none is longer (ns).
_TICK_NS = 20_000_000
_POLL_S = 0.005
#: How often a read is repeated before it keeps writers waiting for its turn.
_TRIES = 5
#: How long (s) to wait for a commit to end, and for the writers' lock.
PATIENCE_S = 60.0


class Steady:
    """Runs reads of one lake so that each sees whole commits only.

    Parameters
    ----------
    root
        The lake.
    recover
        Finishes what a dead writer left decided.
    """

    def __init__(self, root: Path, recover: Callable[[Path], None] | None = None) -> None:
        self.root = root
        self._layout = Layout(root)
        self._recover = recover
        self._here = threading.local()

    def __call__(self, read: Callable[[], T]) -> T:
        """Return what ``read`` returns, from between two commits; it may be called repeatedly.

        Raises
        ------
        LakeLockedError
            If a writer that died amid a commit left it to someone who may write to the lake.
        QueryError
            If the lake changes all the while and cannot be locked against it.
        """
        if getattr(self._here, "is_reading", False):
            return read()
        self._here.is_reading = True
        try:
            return self._read(read)
        finally:
            self._here.is_reading = False

    def _read(self, read: Callable[[], T]) -> T:
        for _ in range(_TRIES):
            before = self._settled()
            try:
                found = read()
            except Exception:
                if self._stamp() == before:
                    raise
                continue
            if self._stamp() == before:
                return found
        with self._kept_still():
            return read()

    def _stamp(self) -> Stamp:
        """Return what every commit changes, when it begins and when it ends."""
        return _changed(self._layout.journal), _changed(self._layout.log)

    def _settled(self) -> Stamp:
        """Wait until no commit is under way; return the stamp of the lake as it is then."""
        end, asked = time.monotonic() + PATIENCE_S, False
        while True:
            stamp = self._stamp()
            fresh = _TICK_NS - abs(time.time_ns() - max(stamp))
            if fresh > 0:
                time.sleep(fresh / 1e9)
            elif not _has_entries(self._layout.journal):
                return stamp
            elif time.monotonic() > end:
                raise LakeLockedError(
                    "a commit is under way and does not end",
                    file=self._layout.root,
                    hint="If its writer has died, any `maplake` command by someone who may write "
                    "to the lake finishes it.",
                )
            else:
                if not asked and self._recover is not None:
                    self._recover(self._layout.root)  # does nothing while the writer lives
                    asked = time.monotonic() > end - PATIENCE_S / 2
                time.sleep(_POLL_S)

    @contextmanager
    def _kept_still(self) -> Iterator[None]:
        """Keep writers waiting, for a read that never fits between two commits."""
        try:
            lock = Lock(self._layout.lock, PATIENCE_S, is_reading=True)
            lock.acquire()
        except (OSError, HeldError) as error:
            raise QueryError(
                "the lake changed during every try to read it",
                file=self._layout.root,
                hint="Ask again when less is written.",
            ) from error
        try:
            if _has_entries(self._layout.journal):
                raise LakeLockedError("a commit was left unfinished", file=self._layout.root)
            yield
        finally:
            lock.release()


def _changed(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _has_entries(folder: Path) -> bool:
    try:
        with os.scandir(folder) as entries:
            return any(True for _ in entries)
    except FileNotFoundError:
        return False


class Result:
    """A DuckDB relation whose rows are read between commits.

    It has what a relation has; what fetches rows does so by way of :class:`Steady`.

    Parameters
    ----------
    steady
        Runs the reads.
    make
        Makes the relation.
    version
        Returns what changes when a relation that was made before may no longer be read.
    """

    def __init__(
        self, steady: Steady, make: Callable[[], Any], version: Callable[[], object]
    ) -> None:
        self._steady = steady
        self._make = make
        self._version = version
        self._made: tuple[object, Any] | None = None

    def start(self) -> Any:
        """Make the relation now; None if there is none, as the statement has no rows."""
        return self._relation()

    def _relation(self) -> Any:
        version = self._version()
        if self._made is None or self._made[0] != version:
            self._made = (version, self._make())
        return self._made[1]

    def _read(self, read: Callable[[Any], T]) -> T:
        """Read from the relation; made anew if it is to be read again."""
        tries = 0

        def once() -> T:
            nonlocal tries
            if tries:
                self._made = None
            tries += 1
            return read(self._relation())

        import duckdb

        try:
            return self._steady(once)
        except duckdb.Error as error:
            raise refused(error) from error

    def _call(self, name: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        def call(relation: Any) -> Any:
            plain = [arg._relation() if isinstance(arg, Result) else arg for arg in args]
            return getattr(relation, name)(*plain, **options)

        import duckdb

        found = self._read(call)
        if not isinstance(found, duckdb.DuckDBPyRelation):
            return found
        derived = Result(self._steady, lambda: call(self._relation()), self._version)
        derived._made = (self._version(), found)
        return derived

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if not callable(getattr(type(self._relation()), name, None)):
            return self._read(lambda relation: getattr(relation, name))

        def call(*args: Any, **options: Any) -> Any:
            return self._call(name, args, options)

        return call

    def __dir__(self) -> list[str]:
        return dir(self._relation())

    def __repr__(self) -> str:
        return self._read(repr)

    def __len__(self) -> int:
        return self._read(len)

    def __getitem__(self, name: str) -> Any:
        return self._call("__getitem__", (name,), {})

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        return self.to_arrow_table().__arrow_c_stream__(requested_schema)

    def pl(self, *args: Any, lazy: bool = False, **options: Any) -> Any:
        """Return a polars frame; with ``lazy``, one that reads when it is collected."""
        if not lazy:
            return self._call("pl", args, options)
        return steady_frame(self._call("pl", args, {**options, "lazy": True}), self._steady)

    def to_arrow_reader(self, *args: Any, **options: Any) -> Any:
        """Return a reader of record batches, all of one moment: spooled to disk where large."""
        from maplake.query.spool import spooled

        return self._read(lambda relation: spooled(relation.to_arrow_reader(*args, **options)))

    fetch_arrow_reader = fetch_record_batch = to_arrow_reader


def steady_frame(frame: pl.LazyFrame, steady: Steady) -> pl.LazyFrame:
    """Return a LazyFrame whose ``collect``, and that of frames made from it, is steady."""
    from maplake.query.steady_frame import kind_of

    made: pl.LazyFrame = kind_of(steady)._from_pyldf(frame._ldf)
    return made
