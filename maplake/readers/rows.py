"""Columns into Arrow tables as declared: what every reader does last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from maplake import tables
from maplake.errors import CorruptFileError, SchemaError

__all__ = ["as_table"]


def as_table(
    name: str, columns: Mapping[str, Any], extra: Mapping[str, pa.DataType] | None = None
) -> pa.Table:
    """Build an Arrow table with the declared types of a lake table.

    Parameters
    ----------
    name
        Full name of the lake table, e.g. ``lab.probe``.
    columns
        Values by column name, all of one length. Declared columns may be missing (alignment adds
        them); they come out in the order of the declaration.
    extra
        Types of columns that the declaration does not have; they come last.

    Raises
    ------
    SchemaError
        If a column is not declared.
    CorruptFileError
        If values do not fit the column's type (too large, no text); it names no file.
    """
    declared = {field.name: field for field in tables.get(name).file_schema}
    declared |= {key: pa.field(key, kind, nullable=False) for key, kind in (extra or {}).items()}
    unknown = sorted(set(columns) - set(declared))
    if unknown:
        raise SchemaError(f"{name} has no such columns", found=", ".join(unknown))
    fields = [field for key, field in declared.items() if key in columns]
    arrays = [_array(name, field, columns[field.name]) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _array(name: str, field: pa.Field, values: Any) -> pa.Array:
    try:
        return pa.array(values, type=field.type)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise CorruptFileError(
            f"values do not fit {name}.{field.name}: {error}", expected=str(field.type)
        ) from error
