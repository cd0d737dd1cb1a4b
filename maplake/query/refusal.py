"""What DuckDB and polars say while rows are read, as errors of maplake."""

from __future__ import annotations

import re

from maplake.errors import QueryError, near

__all__ = ["DAMAGED", "advice", "failures", "query_error", "refused", "said"]

_KINDS: dict[type[BaseException], type[QueryError]] = {}

#: What to do about a file that cannot be read.
DAMAGED = "`maplake check --deep` tells which files are damaged."
#: How DuckDB, polars and Arrow begin to say it.
_DAMAGE = re.compile(
    r"magic bytes|too small to be|out of specification|corrupt|end of stream|TProtocol|ZSTD"
)
#: What macros say of a name that there is not.
_UNKNOWN = re.compile(r"there is no [a-z ]+ '(.*?)'; known are:?(?: the trial events)? (.*)")


def failures() -> tuple[type[Exception], ...]:
    """Return what DuckDB raises: a message that quotes damaged bytes does not become text."""
    import duckdb

    return duckdb.Error, UnicodeDecodeError


def said(error: BaseException) -> str:
    """Return the message; of an error that one of our macros raises, without DuckDB's word."""
    if isinstance(error, UnicodeDecodeError):
        return "a file is damaged; `maplake check --deep` tells which"
    return str(error).removeprefix("Invalid Input Error: ")


def advice(text: str) -> str | None:
    """Return what to do about a message, where there is something to say."""
    unknown = _UNKNOWN.search(text)
    if unknown:
        return near(unknown[1], re.split(", | and the align types ", unknown[2]))
    return DAMAGED if _DAMAGE.search(text) else None


def query_error(error: BaseException) -> QueryError:
    """Return what the libraries say as an error of ours, with what to do about it."""
    if isinstance(error, QueryError):  # what was refused before, of the library's kind as well
        return QueryError(error.message, hint=error.hint)
    text = said(error)
    return QueryError(text, hint=advice(text))


def refused(error: BaseException) -> QueryError:
    """Return a :class:`QueryError` that is an error of the library's kind as well.

    Whoever catches ``duckdb.Error`` or ``polars.exceptions.PolarsError`` goes on to catch it.
    """
    kind = type(error)
    if isinstance(error, QueryError):
        return error
    if isinstance(error, UnicodeDecodeError):
        return query_error(error)
    if kind not in _KINDS:
        _KINDS[kind] = type("QueryError", (QueryError, kind), {"__reduce__": _plain})
    text = said(error)
    return _KINDS[kind](text, hint=advice(text))


def _plain(error: QueryError) -> tuple[object, ...]:
    """Let it cross to other processes as a plain QueryError: its own class has no name there."""
    plain = QueryError(error.message, hint=error.hint)
    return plain.__reduce__()
