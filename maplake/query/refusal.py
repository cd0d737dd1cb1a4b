"""What DuckDB and polars say while rows are read, as errors of maplake."""

from __future__ import annotations

from maplake.errors import QueryError

__all__ = ["failures", "refused", "said"]

_KINDS: dict[type[BaseException], type[QueryError]] = {}


def failures() -> tuple[type[Exception], ...]:
    """Return what DuckDB raises: a message that quotes damaged bytes does not become text."""
    import duckdb

    return duckdb.Error, UnicodeDecodeError


def said(error: BaseException) -> str:
    """Return the message; of an error that one of our macros raises, without DuckDB's word."""
    if isinstance(error, UnicodeDecodeError):
        return "a file is damaged; `maplake check --deep` tells which"
    return str(error).removeprefix("Invalid Input Error: ")


def refused(error: BaseException) -> QueryError:
    """Return a :class:`QueryError` that is an error of the library's kind as well.

    Whoever catches ``duckdb.Error`` or ``polars.exceptions.PolarsError`` goes on to catch it.
    """
    kind = type(error)
    if isinstance(error, QueryError):
        return error
    if isinstance(error, UnicodeDecodeError):
        return QueryError(said(error))
    if kind not in _KINDS:
        _KINDS[kind] = type("QueryError", (QueryError, kind), {"__reduce__": _plain})
    return _KINDS[kind](said(error))


def _plain(error: QueryError) -> tuple[object, ...]:
    """Let it cross to other processes as a plain QueryError: its own class has no name there."""
    return (QueryError, (error.message,))
