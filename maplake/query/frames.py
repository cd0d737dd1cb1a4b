"""The lake's tables as polars frames."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.layout import PART, Layout
from maplake.query.views import has_files_below
from maplake.tables import Column, Table
from maplake.tables.model import LABEL, TEXT, Kind

if TYPE_CHECKING:
    import polars as pl


def scan(root: Path, table: Table, key: Mapping[str, Any] | None = None) -> pl.LazyFrame:
    """Return a stored table, its columns in the declaration's order.

    Filters on subject_id, session and insertion_number leave out files unread, but all of them are
    listed first, which takes long in a lake of a thousand sessions.

    Parameters
    ----------
    root
        The lake's folder.
    table
        The declaration.
    key
        Values of the first columns of the partition, numbers: only what has these is listed.
    """
    import polars as pl

    schema = {c.name: dtype(c) for c in table.columns}
    given = {n: int((key or {})[n]) for n in takewhile((key or {}).__contains__, table.partition)}
    folder = Layout(root).table_dir(table).joinpath(*(f"{n}={v}" for n, v in given.items()))
    below = table.partition[len(given) :]
    if not has_files_below(folder, below):
        return pl.LazyFrame(schema=schema)
    hive = {name: schema[name] for name in below}
    # A folder, not a pattern: then nothing above it is taken for a partition or a wildcard.
    found = pl.scan_parquet(
        (folder if below or not given else folder / PART).resolve(),
        glob=False,
        hive_partitioning=bool(hive),
        hive_schema=hive or None,
    )
    found = found.with_columns(pl.lit(v, schema[n]).alias(n) for n, v in given.items())
    labels = [c.name for c in table.columns if c.kind == LABEL]
    return found.select(list(schema)).with_columns(pl.col(labels).cast(pl.String))


def dtype(column: Column) -> Any:
    """Return the polars type of a column."""
    return _dtype(TEXT if column.kind == LABEL else column.kind)


@cache
def _dtype(kind: Kind) -> Any:
    import polars as pl
    import pyarrow as pa

    empty = pl.from_arrow(pa.table({"x": pa.array([], kind.arrow)}))
    return empty.schema["x"] if isinstance(empty, pl.DataFrame) else pl.Null
