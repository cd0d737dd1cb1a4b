"""Queries and slices of tables as Parquet files."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from maplake.errors import QueryError
from maplake.exports.place import faults, free, writing
from maplake.exports.select import predicate
from maplake.query.known import table_of
from maplake.query.sqltext import full_identifier
from maplake.writers import files

if TYPE_CHECKING:
    from maplake.query.lake import Lake
    from maplake.tables import Table

__all__ = ["export_query", "export_tables"]

_BATCH = 100_000


def export_query(lake: Lake, query: str, path: Path, *, force: bool = False) -> int:
    """Write the rows of a query to one Parquet file, streamed.

    Returns
    -------
    Number of rows.

    Raises
    ------
    QueryError
        If the query is wrong, or the file is there already or cannot be written.
    """
    with writing(path, force=force) as temporary:
        return _write(lake, query, temporary, None)


def export_tables(
    lake: Lake, names: Sequence[str], path: Path, *, where: str = "", force: bool = False
) -> dict[Path, int]:
    """Write tables or views, or the rows of them that a predicate keeps.

    Parameters
    ----------
    lake
        The lake.
    names
        ``schema.table`` of each.
    path
        A file ``….parquet`` for one table; else a folder, which gets a file per table.
    where
        SQL predicate over the columns of every one of the tables.
    force
        Replace what is there.

    Returns
    -------
    Rows of each file.

    Raises
    ------
    NotFoundError
        If there is no such table.
    QueryError
        If the predicate is wrong, or a file is there already or cannot be written.
    """
    tables = [table_of(lake.root, name) for name in dict.fromkeys(names)]
    test = f" WHERE {predicate(lake, where)}" if where else ""
    if path.suffix == ".parquet":
        if len(tables) != 1:
            raise QueryError("one file holds one table", file=path, hint="Name a folder.")
        with writing(path, force=force) as temporary:
            return {path: _table(lake, tables[0], test, temporary)}
    targets = {path / f"{table.full_name}.parquet": table for table in tables}
    for target in targets:
        free(target, force=force)
    # All are written before the first one is put in place.
    with faults(path):
        files.make_dir(path)
        temporary = path / f".{uuid.uuid4().hex}.part"
        try:
            files.make_dir(temporary)
            made = {
                t: _table(lake, tables, test, temporary / t.name) for t, tables in targets.items()
            }
            for target in targets:
                files.replace(temporary / target.name, target)
        finally:
            files.remove(temporary)
    return made


def _table(lake: Lake, table: Table, test: str, path: Path) -> int:
    return _write(lake, f"FROM {full_identifier(table.full_name)}{test}", path, table)


def _write(lake: Lake, query: str, path: Path, table: Table | None) -> int:
    import duckdb

    relation = lake.sql(query)
    if relation is None:
        raise QueryError("the statement returns no rows", found=query)
    rows = 0
    try:
        with relation.to_arrow_reader(_BATCH) as reader:
            schema = reader.schema if table is None else _described(reader.schema, table)
            with pq.ParquetWriter(path, schema, compression="zstd") as writer:
                for batch in reader:
                    rows += batch.num_rows
                    writer.write_table(pa.Table.from_batches([batch]).cast(schema))
    except (duckdb.Error, pa.ArrowException) as error:
        raise QueryError(str(error)) from error
    return rows


def _described(schema: pa.Schema, table: Table) -> pa.Schema:
    """Add units and comments of the declaration to the columns."""
    fields = [f.with_metadata(table.column(f.name).field.metadata) for f in schema]
    return pa.schema(fields, metadata={"table": table.full_name, "comment": table.comment})
