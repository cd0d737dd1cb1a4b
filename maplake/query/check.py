"""Compare the lake with its declarations and manifests.

A few queries per table and part of it, so that memory does not grow with the lake.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

from maplake.errors import IntegrityError, MaplakeError
from maplake.layout import relative_glob
from maplake.query.check_catalog import check_catalog
from maplake.query.check_compact import check_compact
from maplake.query.check_files import Progress, check_files
from maplake.query.check_parts import Part, files_of, levels_of, parts_of, rows_of, view_of
from maplake.query.check_snapshots import check_snapshots
from maplake.query.connection import connect
from maplake.query.known import tables_of
from maplake.query.problems import Problem
from maplake.query.sqltext import full_identifier, glob_literal, identifier, literal
from maplake.query.steady import Steady
from maplake.query.views import has_files, is_compact
from maplake.tables import Column, Ref, Table

if TYPE_CHECKING:
    import duckdb

__all__ = ["Problem", "check"]


#: How often to look, where writers change the lake meanwhile.
_TRIES = 4

#: Memory of the queries; what needs more goes by way of temporary files.
_MEMORY = "2GB"


def check(lake_root: Path, deep: bool = False, progress: Progress | None = None) -> list[Problem]:
    """Check keys, references, values, schemas and files of the lake at ``lake_root``.

    What looks wrong while a commit is carried out is looked at again: it must be found each time.

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
    steady, known = Steady(root), None
    for tries_left in reversed(range(_TRIES)):
        before = steady.moment()
        try:
            found = _problems(root, deep=deep, progress=progress)
        except (MaplakeError, OSError):
            if tries_left and (before is None or steady.moment() != before):
                continue
            raise
        found = [one for one in found if known is None or _place(one) in known]
        if not found or (before is not None and steady.moment() == before):
            break
        known = {_place(one) for one in found}
    return found


def _place(problem: Problem) -> tuple[str, str, str]:
    """Return what is the same of a problem when it is found again."""
    return problem.table, problem.partition, problem.kind


def _problems(root: Path, *, deep: bool, progress: Progress | None) -> list[Problem]:
    """Go through the lake once."""
    problems = [*check_files(root, deep=deep, progress=progress), *check_catalog(root)]
    problems += check_snapshots(root, deep=deep)
    try:
        known = tables_of(root)
    except IntegrityError:  # of the lab's own tables; their record is among the problems
        return problems
    if any(problem.kind == "catalog" for problem in problems):  # it is what tables are read by
        return problems
    with TemporaryDirectory(prefix="maplake-") as folder, closing(connect(root)) as con:
        con.execute(f"SET memory_limit = {literal(_MEMORY)}")
        con.execute(f"SET temp_directory = {literal(folder)}")
        for cache in ("parquet_metadata_cache", "enable_external_file_cache"):
            con.execute(f"SET {cache} = false")  # they keep something of every file
        tables = [table for table in known.values() if table.store.on_disk]
        for done, table in enumerate(tables):
            if progress:
                progress(table.full_name, done, len(tables))
            if has_files(root, table):
                problems += _table(con, root, table, known)
                problems += check_compact(con, root, table, deep=deep)
    return problems


def _table(
    con: duckdb.DuckDBPyConnection, root: Path, table: Table, tables: Mapping[str, Table]
) -> Iterator[Problem]:
    """Check one table; if it cannot be read at all, that is the one problem."""
    import duckdb

    found: dict[tuple[str, str], Broken] = {}
    unreadable = []
    try:
        for part in parts_of(root, table, merged=False):
            yield from _schema(con, root, table, part)
        for one in _broken(con, root, table, tables):
            first = found.get((one.kind, one.message))
            rows = one.rows + (first.rows if first else 0)
            found[one.kind, one.message] = (first or one)._replace(rows=rows)
    except duckdb.Error as error:
        text = str(error).splitlines()[0]
        unreadable = [Problem(table.full_name, "", "unreadable", text)]
    for one in found.values():
        text = f"{one.message}, e.g. {one.example}"
        yield Problem(table.full_name, "", one.kind, text, one.rows)
    yield from unreadable


class Broken(NamedTuple):
    """A rule that so many rows do not keep."""

    kind: str
    message: str
    example: str
    rows: int


def _broken(
    con: duckdb.DuckDBPyConnection, root: Path, table: Table, tables: Mapping[str, Table]
) -> Iterator[Broken]:
    """Yield the rules that are not kept, part by part; at the end those of all parts together."""
    merged = is_compact(root, table)
    levels = levels_of(table, merged=merged)
    keys = [("key", table.key), *(("unique", group) for group in table.unique)]
    within = [(kind, names) for kind, names in keys if set(levels) <= set(names)]
    across = [(kind, names) for kind, names in keys if not set(levels) <= set(names)]
    for part in parts_of(root, table, merged=merged):
        rows = rows_of(root, table, part, merged=merged)
        yield from _columns(con, table, rows)
        yield from _unique(con, rows, within)
        for ref in table.refs:
            others = _referenced(root, tables, ref, levels, part)
            yield from _reference(con, rows, ref, others)
    yield from _unique(con, view_of(table), across)


def _schema(
    con: duckdb.DuckDBPyConnection, root: Path, table: Table, part: Part
) -> Iterator[Problem]:
    """Compare the columns inside the files with the declaration, from their footers alone."""
    wanted = [(c.name, _parquet_type(c)) for c in table.file_columns]
    names = [relative_glob(table)] if part is None else files_of(root, table, part, merged=False)
    files = [glob_literal(root, name) for name in names]
    rows = con.execute(
        "SELECT file_name, list((name, type) ORDER BY column_id) FROM ("
        "SELECT DISTINCT file_name, column_id, split_part(path_in_schema, ', ', 1) AS name, type "
        f"FROM parquet_metadata([{', '.join(files)}])) GROUP BY file_name"
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


def _columns(con: duckdb.DuckDBPyConnection, table: Table, rows: str) -> Iterator[Broken]:
    """Nulls where none are allowed, words that are not in the list: one pass over the rows."""
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
    row = con.execute(f"SELECT {counts} FROM {rows}").fetchone() or ()
    for (kind, message, predicate), count in zip(rules, row, strict=False):
        if count:
            yield Broken(kind, message, _example(con, table, rows, predicate), int(count))


def _unique(
    con: duckdb.DuckDBPyConnection, rows: str, keys: Sequence[tuple[str, Sequence[str]]]
) -> Iterator[Broken]:
    """Rows that share a primary key or another set of columns that must be unique."""
    for kind, names in keys:
        if not names:
            continue
        columns = _names(names)
        given = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in names)
        twice = (
            f"SELECT {columns}, count(*) AS n FROM {rows} WHERE {given} "
            f"GROUP BY {columns} HAVING count(*) > 1"
        )
        row = con.execute(f"SELECT sum(n - 1), first(t) FROM ({twice}) AS t").fetchone()
        if row and row[0]:
            text = f"several rows have the same {', '.join(names)}"
            yield Broken(kind, text, _show(row[1]), int(row[0]))


def _referenced(
    root: Path, tables: Mapping[str, Table], ref: Ref, levels: Sequence[str], part: Part
) -> str:
    """Return what SQL reads the rows from that those of a part may refer to."""
    other = tables.get(ref.table)
    if other is None:
        return full_identifier(ref.table)
    pairs = list(zip(ref.columns, ref.targets, strict=True))
    same = other.partition[: len(levels)] == tuple(levels) and all((n, n) in pairs for n in levels)
    return rows_of(root, other, part) if same else view_of(other)


def _reference(
    con: duckdb.DuckDBPyConnection, rows: str, ref: Ref, others: str
) -> Iterator[Broken]:
    """Rows that name a row of another table that is not there."""
    # Counted per key first: tables of spikes refer to few rows very often.
    columns = _names(ref.columns)
    given = " AND ".join(f"{identifier(name)} IS NOT NULL" for name in ref.columns)
    match = " AND ".join(
        f"a.{identifier(mine)} = b.{identifier(other)}"
        for mine, other in zip(ref.columns, ref.targets, strict=True)
    )
    row = con.execute(
        f"SELECT sum(a.n), first(a) FROM (SELECT {columns}, count(*) AS n FROM {rows} "
        f"WHERE {given} GROUP BY {columns}) AS a "
        f"ANTI JOIN {others} AS b ON {match}"
    ).fetchone()
    if row and row[0]:
        text = f"no row of {ref.table} for {', '.join(ref.columns)}"
        yield Broken("reference", text, _show(row[1]), int(row[0]))


def _example(con: duckdb.DuckDBPyConnection, table: Table, rows: str, predicate: str) -> str:
    names = table.key or table.partition
    row = con.execute(f"SELECT {_names(names)} FROM {rows} WHERE {predicate} LIMIT 1")
    return _show(dict(zip(names, row.fetchone() or (), strict=False)))


def _show(row: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in row.items() if name != "n")


def _names(names: Sequence[str]) -> str:
    return ", ".join(identifier(name) for name in names)
