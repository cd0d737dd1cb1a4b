"""What a computed table is: its declaration, its inputs, and the function of one partition."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from maplake.errors import SchemaError
from maplake.query.lake import Lake
from maplake.tables import Column, Ref, Store, Table
from maplake.tables.model import INSERTION, SESSION, SUBJECT_ID, TO_INSERTION, TO_SESSION
from maplake.tables.own import KIND
from maplake.version import version

__all__ = ["Computation", "Key", "Make", "sql_table", "table"]

#: Which partition: subject_id, session and insertion_number as far as the table has them.
Key = dict[str, int]
Make = Callable[[Lake, Key], Any]

_BY = {
    "session": (Store.SESSION, (SUBJECT_ID, SESSION), TO_SESSION),
    "insertion": (Store.INSERTION, (SUBJECT_ID, SESSION, INSERTION), TO_INSERTION),
    "lake": (Store.GLOBAL, (), None),
}
_PLAIN = (int, float, str, bytes, bool, type(None), tuple, frozenset)


@dataclass(frozen=True)
class Computation:
    """One or more tables that one function fills, partition by partition.

    Attributes
    ----------
    tables
        The declarations, all stored alike; the first one names the computation.
    inputs
        Full names of the tables and views that the function reads. The first one says which
        partitions there are: one is computed for each that it has.
    make
        Called with the lake and the key of a partition; returns its rows as a polars frame, an
        Arrow table, a DuckDB relation, a list of dictionaries or a dictionary of columns; for
        several tables a dictionary of these by full name. Columns of the partition may be left
        out. None with ``sql``.
    sql
        A query that returns the rows, with ``$subject_id``, ``$session``, ``$insertion_number``.
    constant
        Tables that are read, too, but whose rows never change once they are there.
    file
        Where it is defined, for messages.
    """

    tables: tuple[Table, ...]
    inputs: tuple[str, ...]
    make: Make | None = None
    sql: str | Path = ""
    constant: tuple[str, ...] = ()
    file: str = ""

    @property
    def name(self) -> str:
        """Full name of its first table."""
        return self.tables[0].full_name

    @property
    def levels(self) -> tuple[str, ...]:
        """Columns that make up the key of a partition."""
        return self.tables[0].partition

    def __call__(self, lake: Lake, key: Key) -> Any:
        """Return the rows of one partition, as :attr:`make` gives them."""
        if self.make is not None:
            return self.make(lake, key)
        used = set(re.findall(r"\$(\w+)", str(self.sql)))
        return lake.sql(str(self.sql), {name: v for name, v in key.items() if name in used})

    def code_hash(self) -> str:
        """Return a hash over the declarations, the function with what it calls, and maplake."""
        parts = [version(), repr(self.tables), repr(self.inputs), str(self.sql)]
        if self.make is not None:
            parts += sorted(set(_sources(self.make, set())))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _sources(function: Any, seen: set[int]) -> Iterator[str]:
    """Yield the source of a function, and of the functions and constants of its package it names.

    A change in a helper is a change of the result as well.
    """
    function = inspect.unwrap(function)
    if id(function) in seen or not isinstance(function, FunctionType):
        return
    seen.add(id(function))
    yield _source(function)
    package = function.__module__.split(".")[0]
    for name in _names(function.__code__):
        value = function.__globals__.get(name)
        if isinstance(value, _PLAIN) and name in function.__globals__:
            yield f"{name} = {value!r}"
        elif getattr(value, "__module__", "").split(".")[0] == package:
            yield from _sources(value, seen)


def _source(function: FunctionType) -> str:
    try:
        return inspect.getsource(function)
    except (OSError, TypeError):  # no file, or one that was edited since it was read
        return "\n".join(code.co_code.hex() for code in _codes(function.__code__))


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(code: CodeType) -> Iterator[str]:
    for each in _codes(code):
        yield from each.co_names


def _declare(
    name: str,
    comment: str,
    columns: Sequence[Column],
    key: Sequence[str],
    by: str,
    refs: Sequence[Ref],
) -> Table:
    schema, _, plain = name.partition(".")
    if not plain or "." in plain:
        raise SchemaError(f"{name!r} is no name of a table", expected="schema.table")
    if by not in _BY:
        raise SchemaError(f"{name} cannot be kept by {by!r}", expected=", ".join(_BY))
    store, partition, parent = _BY[by]
    given = [column for column in columns if column.name not in {c.name for c in partition}]
    try:
        return Table(
            schema,
            plain,
            comment,
            (*partition, *given),
            key=tuple(dict.fromkeys((*(c.name for c in partition), *key))),
            store=store,
            refs=(*((parent,) if parent else ()), *refs),
            kind=KIND,
        )
    except TypeError as error:
        raise SchemaError(str(error)) from error


def table(
    name: str,
    comment: str,
    *,
    columns: Sequence[Column],
    inputs: Sequence[str],
    key: Sequence[str] = (),
    by: str = "insertion",
    refs: Sequence[Ref] = (),
) -> Callable[[Make], Computation]:
    """Declare a table of one's own; the function below it computes the rows of one partition.

    Parameters
    ----------
    name
        ``schema.table``; the schema is the lab's own.
    comment
        What a row is.
    columns
        Its columns. Those of the partition (subject_id, session, insertion_number) come by
        themselves.
    inputs
        Tables and views that the function reads; the first one says which partitions there are.
    key
        The columns that, beside those of the partition, name a row.
    by
        What a partition is: ``insertion``, ``session``, or ``lake`` for one file in all.
    refs
        Tables that rows refer to, beside their session or insertion.

    Returns
    -------
    A decorator of ``function(lake, key)``; see :class:`Computation` for what it may return.

    Raises
    ------
    SchemaError
        If the declaration contradicts itself.
    """
    declared = _declare(name, comment, columns, key, by, refs)

    def decorate(make: Make) -> Computation:
        return Computation((declared,), tuple(inputs), make, file=inspect.getfile(make))

    return decorate


def sql_table(
    name: str,
    comment: str,
    *,
    sql: str | Path,
    columns: Sequence[Column],
    inputs: Sequence[str],
    key: Sequence[str] = (),
    by: str = "insertion",
    refs: Sequence[Ref] = (),
) -> Computation:
    """Declare a table of one's own that a query fills.

    Parameters
    ----------
    name, comment, columns, inputs, key, by, refs
        As in :func:`table`.
    sql
        The query, or a :class:`~pathlib.Path` to a file with it, relative to the file of the
        declaration. It may use ``$subject_id``, ``$session`` and ``$insertion_number``.

    Raises
    ------
    SchemaError
        If the declaration contradicts itself.
    """
    return Computation((_declare(name, comment, columns, key, by, refs),), tuple(inputs), sql=sql)


def outputs(found: Any, names: Sequence[str]) -> Mapping[str, Any]:
    """Return what a function returned by full name of the table."""
    if found is None:
        return dict.fromkeys(names)
    if len(names) == 1 and not (isinstance(found, dict) and set(found) == set(names)):
        return {names[0]: found}
    if not isinstance(found, dict) or set(found) != set(names):
        raise SchemaError(
            "the function must return the rows of each of its tables by name",
            found=", ".join(map(str, found)) if isinstance(found, dict) else type(found).__name__,
            expected=", ".join(names),
        )
    return found
