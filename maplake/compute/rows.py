"""From what a function returned to rows that its table can hold."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from maplake.compute.model import Key
from maplake.errors import SchemaError
from maplake.tables import Table
from maplake.writers import parquet

__all__ = ["as_rows"]


def as_rows(table: Table, found: Any, key: Key) -> pa.Table:
    """Return the rows of one partition as the declaration wants them.

    Parameters
    ----------
    table
        The declaration.
    found
        A polars frame, an Arrow table, a DuckDB relation, a list of dictionaries, a dictionary of
        columns, or None for no rows.
    key
        The partition; its columns may be in the rows and are then checked.

    Raises
    ------
    SchemaError
        If the rows do not fit.
    """
    data = _arrow(table, found)
    for name, value in key.items():
        if name in data.column_names:
            _check_partition(table, data, name, value)
            data = data.drop_columns([name])
    _check_columns(table, data)
    return parquet.conform(table, _typed(table, data))


def _arrow(table: Table, found: Any) -> pa.Table:
    if found is None:
        return table.file_schema.empty_table()
    if hasattr(found, "collect"):
        found = found.collect()
    for method in ("to_arrow_table", "to_arrow"):
        if hasattr(found, method):
            found = getattr(found, method)()
            break
    if isinstance(found, pa.Table):
        return found
    try:
        if isinstance(found, dict):
            return pa.table(found)
        if isinstance(found, list):
            return pa.Table.from_pylist(found) if found else table.file_schema.empty_table()
    except (pa.ArrowException, ValueError, TypeError, AttributeError) as error:
        raise SchemaError(f"no rows can be made for {table.full_name}: {error}") from error
    raise SchemaError(
        f"the function for {table.full_name} returned no rows",
        found=type(found).__name__,
        expected="a polars frame, an Arrow table, a DuckDB relation, a list of dictionaries, or "
        "a dictionary of columns",
    )


def _check_partition(table: Table, data: pa.Table, name: str, value: int) -> None:
    others = [v for v in pc.unique(data[name]).to_pylist() if v != value]
    if others:
        raise SchemaError(
            f"rows for {table.full_name} are of another {name}", found=others[:5], expected=value
        )


def _check_columns(table: Table, data: pa.Table) -> None:
    wanted = table.file_schema.names
    if set(data.column_names) != set(wanted):
        raise SchemaError(
            f"wrong columns for {table.full_name}",
            found=", ".join(data.column_names),
            expected=", ".join(wanted),
        )


def _typed(table: Table, data: pa.Table) -> pa.Table:
    try:
        columns = [_cast(data[f.name], f.type) for f in table.file_schema]
    except (pa.ArrowException, ValueError) as error:
        raise SchemaError(f"wrong types for {table.full_name}: {error}") from error
    return pa.table(dict(zip(table.file_schema.names, columns, strict=True)))


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    if pa.types.is_dictionary(kind):
        return column.cast(kind.value_type).combine_chunks().dictionary_encode().cast(kind)
    return column.cast(kind)
