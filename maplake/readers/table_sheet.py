"""A sheet whose columns are those of a table of the lake: what people enter by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from maplake.errors import SpreadsheetError
from maplake.readers.cells import (
    Converter,
    Field,
    Mistake,
    Row,
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
    rows, by_name = _rows(path, [column.name for column in table.columns if not column.nullable])
    header = set().union(*(row.cells for row in rows)) if rows else set()
    wanted = [c for c in table.columns if not (by_name and c.name == "subject_id")]
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


def _rows(path: Path, required: Sequence[str]) -> tuple[list[Row], bool]:
    """Return the rows of a sheet, and whether they name animals instead of numbering them."""
    try:
        return load_rows(path, required), False
    except SpreadsheetError as by_number:
        if "subject_id" not in required:
            raise
        try:
            others = [name for name in required if name != "subject_id"]
            return load_rows(path, [*others, _H2O]), True
        except SpreadsheetError as by_name:
            # What is missing is said of the form that the sheet has.
            raise (by_number if _H2O in by_name.message else by_name) from None


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
