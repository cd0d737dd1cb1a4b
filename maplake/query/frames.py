"""The lake's tables as polars frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.layout import Layout
from maplake.query.views import has_files
from maplake.tables import Column, Table
from maplake.tables.model import LABEL, TEXT

if TYPE_CHECKING:
    import polars as pl


def scan(root: Path, table: Table) -> pl.LazyFrame:
    """Return a stored table, its columns in the declaration's order.

    Filters on subject_id, session and insertion_number leave out files unread.
    """
    import polars as pl

    schema = {c.name: dtype(c) for c in table.columns}
    if not has_files(root, table):
        return pl.LazyFrame(schema=schema)
    hive = {name: schema[name] for name in table.partition}
    # A folder, not a pattern: then nothing above it is taken for a partition or a wildcard.
    found = pl.scan_parquet(
        Layout(root).table_dir(table).resolve(),
        glob=False,
        hive_partitioning=bool(hive),
        hive_schema=hive or None,
    )
    labels = [c.name for c in table.columns if c.kind == LABEL]
    return found.select(list(schema)).with_columns(pl.col(labels).cast(pl.String))


def dtype(column: Column) -> Any:
    """Return the polars type of a column."""
    import polars as pl
    import pyarrow as pa

    kind = TEXT.arrow if column.kind == LABEL else column.type
    empty = pl.from_arrow(pa.table({"x": pa.array([], kind)}))
    return empty.schema["x"] if isinstance(empty, pl.DataFrame) else pl.Null
