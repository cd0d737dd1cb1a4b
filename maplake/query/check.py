"""Compare the lake with its declarations and manifests.

A few set-wise queries per table, whatever the number of sessions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from maplake.errors import IntegrityError
from maplake.layout import relative_glob
from maplake.query.check_catalog import check_catalog
from maplake.query.check_compact import check_compact
from maplake.query.check_files import Progress, check_files
from maplake.query.check_snapshots import check_snapshots
from maplake.query.connection import connect
from maplake.query.known import tables_of
from maplake.query.problems import Problem
from maplake.query.sqltext import full_identifier, glob_literal, identifier, literal
from maplake.query.views import has_files, raw_name
from maplake.tables import TABLES, Column, Ref, Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["Problem", "check"]


#: Memory of the queries; what needs more goes by way of temporary files.
_MEMORY = "2GB"


def check(lake_root: Path, deep: bool = False, progress: Progress | None = None) -> list[Problem]:
    """Check keys, references, values, schemas and files of the lake at ``lake_root``.

    Parameters
    ----------
    lake_root
        The lake's folder.
    deep
        Also compare the SHA-256 of every file, second copies and snapshots too.
    progress
        Called with the name of what is checked next, the number done and their total, for the
        files and then for the tables.

    Returns
    -------
    What is wrong; empty = nothing.

    Raises
    ------
    LakeError
        If the catalog cannot be read.
    """
    root = Path(lake_root)
    problems = [*check_files(root, deep=deep, progress=progress), *check_catalog(root)]
    problems += check_snapshots(root, deep=deep)
    try:
        tables = [table for table in tables_of(root).values() if table.store.on_disk]
    except IntegrityError:  # of the lab's own tables; their record is among the problems
        return problems
    if any(problem.kind == "catalog" for problem in problems):  # it is what tables are read by
        return problems
    with TemporaryDirectory(prefix="maplake-") as folder, closing(connect(root)) as con:
        con.execute(f"SET memory_limit = {literal(_MEMORY)}")
        con.execute(f"SET temp_directory = {literal(folder)}")
        for done, table in enumerate(tables):
            if progress:
                progress(table.full_name, done, len(tables))
            if has_files(root, table):
                problems += _table(con, root, table)
                problems += check_compact(con, root, table, deep=deep)
    return problems


def _table(con: duckdb.DuckDBPyConnection, root: Path, table: Table) -> Iterator[Problem]:
    """Check one table; if it cannot be read at all, that is the one problem."""
    import duckdb

    try:
        yield from _schema(con, root, table)
        for rule in (_columns, _unique, _references):
            yield from rule(con, table)
    except duckdb.Error as error:
        yield Problem(table.full_name, "", "unreadable", str(error).splitlines()[0])


def _schema(con: duckdb.DuckDBPyConnection, root: Path, table: Table) -> Iterator[Problem]:
    """Compare the columns inside the files with the declaration, from their footers alone."""
    wanted = [(c.name, _parquet_type(c)) for c in table.file_columns]
    rows = con.execute(
        "SELECT file_name, list((name, type) ORDER BY column_id) FROM ("
        "SELECT DISTINCT file_name, column_id, split_part(path_in_schema, ', ', 1) AS name, type "
        f"FROM parquet_metadata({glob_literal(root, relative_glob(table))})) GROUP BY file_name"
    ).fetchall()
    for file, found in rows:
        columns = [tuple(item) for item in found]
        if columns != wanted:
            odd = sorted(set(columns) ^ set(wanted)) or columns
            yield Problem(
                table.full_name,
                _below(root, file),
                "schema",
                f"its columns are not as declared: {odd[:4]}",
            )


def _parquet_type(column: Column) -> str:
    import pyarrow as pa

    kind = column.type
    while pa.types.is_dictionary(kind) or pa.types.is_list(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "BOOLEAN"
    if pa.types.is_string(kind):
        return "BYTE_ARRAY"
    if kind in (pa.int32(), pa.date32(), pa.int16(), pa.uint8(), pa.uint32()):
        return "INT32"
    return {pa.float64(): "DOUBLE", pa.float32(): "FLOAT"}.get(kind, "INT64")


def _below(root: Path, file: str) -> str:
    try:
        return Path(file).relative_to(root.resolve()).as_posix()
    except ValueError:
        return file


def _columns(con: duckdb.DuckDBPyConnection, table: Table) -> Iterator[Problem]:
    """Nulls where none are allowed, words that are not in the list: one pass over the table."""
    rules: list[tuple[str, str, str]] = []
    for column in table.columns:
        name = identifier(column.name)
        if not column.nullable:
            rules.append(("null", f"{column.name} is null", f"{name} IS NULL"))
        if column.values:
            rules.append(
                (
                    "values",
                    f"{column.name} is none of {', '.join(column.values)}",
                    f"{name} NOT IN ({', '.join(literal(v) for v in column.values)})",
                )
            )
    counts = ", ".join(f"count(*) FILTER ({rule[2]})" for rule in rules)
    row = con.execute(f"SELECT {counts} FROM {_view(table)}").fetchone() or ()
    for (kind, message, predicate), count in zip(rules, row, strict=False):
        if count:
            example = _example(con, table, predicate)
            yield Problem(table.full_name, "", kind, f"{message}, e.g. {example}", int(count))


def _unique(con: duckdb.DuckDBPyConnection, table: Table) -> Iterator[Problem]:
    """Rows that share a primary key or another set of columns that must be unique."""
    for kind, names in (("key", table.key), *(("unique", group) for group in table.unique)):
        if not names:
            continue
        columns = _names(names)
        given = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in names)
        twice = (
            f"SELECT {columns}, count(*) AS n FROM {_view(table)} WHERE {given} "
            f"GROUP BY {columns} HAVING count(*) > 1"
        )
        row = con.execute(f"SELECT sum(n - 1), first(t) FROM ({twice}) AS t").fetchone()
        if row and row[0]:
            yield Problem(
                table.full_name,
                "",
                kind,
                f"several rows have the same {', '.join(names)}, e.g. {_show(row[1])}",
                int(row[0]),
            )


def _references(con: duckdb.DuckDBPyConnection, table: Table) -> Iterator[Problem]:
    """Rows that name a row of another table that is not there."""
    for ref in table.refs:
        row = con.execute(_dangling(table, ref)).fetchone()
        if row and row[0]:
            yield Problem(
                table.full_name,
                "",
                "reference",
                f"no row of {ref.table} for {', '.join(ref.columns)}, e.g. {_show(row[1])}",
                int(row[0]),
            )


def _dangling(table: Table, ref: Ref) -> str:
    known = TABLES.get(ref.table)
    other = _view(known) if known else full_identifier(ref.table)
    # Counted per key first: tables of spikes refer to few rows very often.
    columns = _names(ref.columns)
    given = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in ref.columns)
    match = " AND ".join(
        f"a.{identifier(mine)} = b.{identifier(other)}"
        for mine, other in zip(ref.columns, ref.targets, strict=True)
    )
    return (
        f"SELECT sum(a.n), first(a) FROM (SELECT {columns}, count(*) AS n FROM {_view(table)} "
        f"WHERE {given} GROUP BY {columns}) AS a "
        f"ANTI JOIN {other} AS b ON {match}"
    )


def _example(con: duckdb.DuckDBPyConnection, table: Table, predicate: str) -> str:
    names = table.key or table.partition
    row = con.execute(f"SELECT {_names(names)} FROM {_view(table)} WHERE {predicate} LIMIT 1")
    return _show(dict(zip(names, row.fetchone() or (), strict=False)))


def _show(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name != "n")


def _names(names: Sequence[str]) -> str:
    return ", ".join(identifier(name) for name in names)


def _view(table: Table) -> str:
    return full_identifier(raw_name(table))
