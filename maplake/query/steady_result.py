"""DuckDB relations that are read between commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from maplake.query.refusal import failures, refused
from maplake.query.steady import Steady

__all__ = ["Result"]

T = TypeVar("T")


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

        try:
            return self._steady(once)
        except failures() as error:
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
        from maplake.query.steady_frame import steady_frame

        return steady_frame(self._call("pl", args, {**options, "lazy": True}), self._steady)

    def to_arrow_reader(self, *args: Any, **options: Any) -> Any:
        """Return a reader of record batches, all of one moment: spooled to disk where large."""
        from maplake.query.spool import spooled

        return self._read(lambda relation: spooled(relation.to_arrow_reader(*args, **options)))

    fetch_arrow_reader = fetch_record_batch = to_arrow_reader
