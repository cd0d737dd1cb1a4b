"""A sheet whose columns are those of a table of the lake: what people enter by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from maplake.readers.cells import (
    Converter,
    Field,
    Mistake,
    convert,
    one_of,
    refuse,
    to_date,
    to_number,
    to_text,
    to_truth,
    whole,
)
from maplake.readers.sheets import animal_named, load_rows
from maplake.tables import Column, Table

__all__ = ["read"]

_H2O = "water_restriction_number"


def read(path: Path, table: Table, subjects: Mapping[str, int]) -> pa.Table:
    """Read a sheet as rows of a table.

    Parameters
    ----------
    path
        ``.xlsx`` or ``.csv``, with the table's columns as headers; nullable ones may be left out,
        and ``water_restriction_number`` may stand for subject_id.
    table
        The table's declaration.
    subjects
        subject_id by water restriction number.

    Returns
    -------
    pyarrow.Table
        Rows with all stored columns of the table.

    Raises
    ------
    SpreadsheetError
        If columns are missing or cells are wrong; all of them are named.
    SourceError
        If the file cannot be read.
    """
    rows = load_rows(path, ())
    header = set().union(*(row.cells for row in rows)) if rows else set()
    by_name = _H2O in header and "subject_id" not in header
    wanted = [c for c in table.columns if not (by_name and c.name == "subject_id")]
    required = [c.name for c in wanted if not c.nullable]
    load_rows(path, [*required, *([_H2O] if by_name else [])])
    fields = [_field(column) for column in wanted if column.name in header]
    fields += [Field(_H2O, to_text, required=True)] if by_name else []
    found: list[dict[str, Any]] = []
    mistakes: list[Mistake] = []
    for row in rows:
        values, wrong = convert(row, fields)
        mistakes += wrong
        if by_name and not wrong:
            name = values.pop(_H2O)
            values["subject_id"] = animal_named(name, subjects)
            if values["subject_id"] is None:
                mistakes.append(Mistake(row.number, _H2O, repr(name), "an animal of the lake"))
        found.append(values)
    refuse(path, mistakes)
    columns = [pa.array([row.get(c.name) for row in found], c.type) for c in table.columns]
    return pa.table(columns, names=[c.name for c in table.columns])


def _field(column: Column) -> Field:
    return Field(column.name, _converter(column), required=not column.nullable)


def _converter(column: Column) -> Converter:
    kind = column.type
    if column.values:
        return one_of(*column.values)
    if pa.types.is_integer(kind):
        return whole(0)
    if pa.types.is_floating(kind):
        return to_number
    if pa.types.is_date(kind):
        return to_date
    if pa.types.is_timestamp(kind):
        return _to_moment
    return to_truth if pa.types.is_boolean(kind) else to_text


def _to_moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError("a date and time, YYYY-MM-DD HH:MM") from None
