"""Parquet files, checked against the declaration of their table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maplake.errors import SchemaError
from maplake.tables import Table


def conform(table: Table, data: pa.Table, *, is_sorted: bool = False) -> pa.Table:
    """Return ``data`` as the declaration wants it: columns in order, types, sorted rows.

    Parameters
    ----------
    table
        The declaration.
    data
        Rows with the columns of ``table.file_columns``, in any order.
    is_sorted
        True if the rows already are in the order of ``table.sort_columns``.

    Raises
    ------
    SchemaError
        If a column is missing, unknown, of another type, null where it may not be or has a value
        that is not allowed, or if a key occurs twice.
    """
    schema = table.file_schema
    if set(data.column_names) != set(schema.names):
        raise SchemaError(
            f"wrong columns for {table.full_name}",
            found=", ".join(data.column_names),
            expected=", ".join(schema.names),
        )
    data = data.select(schema.names)
    _check_nulls(table, data)
    try:
        data = data.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as error:
        raise SchemaError(f"wrong types for {table.full_name}: {error}") from error
    if not is_sorted and table.sort_columns and data.num_rows > 1:
        data = _sorted(data, table.sort_columns)
    _check(table, data)
    return data


def _sorted(data: pa.Table, names: tuple[str, ...]) -> pa.Table:
    keys = pa.table({name: _plain(data[name]) for name in names})
    order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in names])
    return data.take(order)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Labels sort by their text, not by their place in a dictionary.
    if pa.types.is_dictionary(column.type):
        return column.cast(column.type.value_type)
    return column


def _check_nulls(table: Table, data: pa.Table) -> None:
    for column in table.file_columns:
        missing = data[column.name].null_count
        if missing and not column.nullable:
            raise SchemaError(
                f"{missing} rows of {table.full_name} have no {column.name}",
                hint="A column that may be empty must be declared nullable.",
            )


def _check(table: Table, data: pa.Table) -> None:
    for column in table.file_columns:
        values = data[column.name]
        if column.values:
            found = set(pc.unique(_plain(values)).to_pylist()) - {None, *column.values}
            if found:
                raise SchemaError(
                    f"unknown value in {table.full_name}.{column.name}",
                    found=", ".join(sorted(map(repr, found))),
                    expected=", ".join(column.values),
                )
    _check_key(table, data)


def _check_key(table: Table, data: pa.Table) -> None:
    names = [name for name in table.key if name not in table.partition]
    if not names or data.num_rows < 2:
        if table.key and not names and data.num_rows > 1:
            raise SchemaError(f"{table.full_name} has more than one row for one {table.key}")
        return
    keys = pa.table({name: _plain(data[name]) for name in names})
    counts = keys.group_by(names).aggregate([([], "count_all")])
    twice = counts.filter(pc.greater(counts["count_all"], 1))
    if twice.num_rows:
        raise SchemaError(
            f"the key of {table.full_name} is not unique: {twice.num_rows} keys are there twice",
            found=str(twice.slice(0, 1).drop_columns(["count_all"]).to_pylist()[0]),
        )


def write(table: Table, data: pa.Table, path: Path) -> None:
    """Write rows that :func:`conform` returned to one Parquet file; same rows, same bytes."""
    encoded = dict(table.encodings)
    data = data.replace_schema_metadata(table.file_schema.metadata)
    pq.write_table(
        data,
        path,
        compression="zstd",
        row_group_size=table.row_group,
        use_dictionary=[name for name in data.column_names if name not in encoded],
        column_encoding=encoded or None,
        write_page_index=True,
        sorting_columns=[
            pq.SortingColumn(data.column_names.index(name)) for name in table.sort_columns
        ]
        or None,
    )


def merge(table: Table, old: pa.Table | None, new: pa.Table) -> pa.Table:
    """Return old and new rows of a global table; a new row replaces an old one of the same key.

    Either may name a key several times: its last row counts.
    """
    new = _last_of_key(table, new)
    if old is None or old.num_rows == 0:
        return conform(table, new)
    old = _last_of_key(table, old)
    # Keys alone are joined: Arrow joins no columns of lists.
    keys = list(table.key)
    numbered = old.select(keys).append_column("_row", pa.array(np.arange(old.num_rows)))
    others = numbered.join(new.select(keys), keys=keys, join_type="left anti")["_row"]
    kept = old.take(pa.array(np.sort(others.to_numpy())))
    return conform(table, pa.concat_tables([kept, new]))


def _last_of_key(table: Table, data: pa.Table) -> pa.Table:
    try:
        data = data.select(table.file_schema.names).cast(table.file_schema)
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise SchemaError(f"rows do not fit {table.full_name}: {error}") from error
    numbered = data.append_column("_row", pa.array(np.arange(data.num_rows)))
    last = numbered.group_by(list(table.key)).aggregate([("_row", "max")])["_row_max"]
    return data.take(pa.array(np.sort(last.to_numpy())))
