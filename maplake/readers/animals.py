"""The animals' spreadsheet: who they are and under which name (h2o) their files run.

Columns: subject_id, water_restriction_number, username, cage_number, date_of_birth, sex,
animal_source, wr_start_date, wr_start_weight (g). Only the first two need a value in every row. A
sheet with a row per insertion may serve, too: a row that repeats an animal and says nothing else
about it is that animal's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from maplake.readers.base import Reader, Records
from maplake.readers.cells import (
    Field,
    Mistake,
    convert,
    one_of,
    refuse,
    to_date,
    to_number,
    to_text,
    whole,
)
from maplake.readers.sheets import find_sheet, load_rows
from maplake.tables import TABLES

__all__ = ["READER", "animal_tables", "read", "to_sex", "to_weight"]


def to_weight(text: str) -> float:
    """Return a weight in g, more than 0."""
    value = to_number(text)
    if value <= 0:
        raise ValueError("a weight in g, more than 0")
    return value


#: Returns M, F or Unknown.
to_sex = one_of("M", "F", "Unknown", male="M", female="F", u="Unknown")

_FIELDS = (
    Field("subject_id", whole(at_least=0), required=True),
    Field("water_restriction_number", to_text, required=True),
    Field("username", to_text),
    Field("cage_number", whole(at_least=0)),
    Field("date_of_birth", to_date),
    Field("sex", to_sex),
    Field("animal_source", to_text),
    Field("wr_start_date", to_date),
    Field("wr_start_weight", to_weight),
)


def read(path: Path, _context: object = None) -> Records:
    """Read the animals of a spreadsheet.

    Returns
    -------
    Records
        Tables ``lab.person`` (the usernames), ``lab.subject`` and ``lab.water_restriction``,
        a row per animal in the order in which the sheet names them.

    Raises
    ------
    SourceError
        If the file cannot be read; :class:`SpreadsheetError` lists every cell that is wrong, and
        every animal or name that is there twice with other values.
    """
    rows, mistakes = [], []
    first: dict[object, dict[str, Any]] = {}
    for row in load_rows(path, (field.name for field in _FIELDS)):
        values, wrong = convert(row, _FIELDS)
        mistakes += wrong
        known = first.setdefault(values["subject_id"], values)
        if known is not values and not wrong and _says_nothing_new(values, known):
            continue
        rows.append((row.number, values))
    for column in ("subject_id", "water_restriction_number"):
        mistakes += _repeated(rows, column)
    refuse(path, sorted(mistakes, key=lambda mistake: mistake.row))
    return Records(tables=animal_tables([values for _, values in rows]))


def animal_tables(rows: Sequence[dict[str, Any]]) -> dict[str, pa.Table]:
    """Return what is entered about animals as rows of the lake.

    Parameters
    ----------
    rows
        Values of an animal by the columns of a sheet of animals; what is not there is not known.

    Returns
    -------
    dict
        Tables ``lab.person`` (the usernames), ``lab.subject`` and ``lab.water_restriction``.
    """
    animals = [values | {"sex": values["sex"] or "Unknown"} for values in rows]
    people = sorted({a["username"] for a in animals if a["username"] is not None})
    return {
        "lab.person": _table("lab.person", [{"username": name} for name in people]),
        "lab.subject": _table("lab.subject", animals),
        "lab.water_restriction": _table("lab.water_restriction", animals),
    }


def _says_nothing_new(values: dict[str, Any], known: dict[str, Any]) -> bool:
    return all(value is None or value == known[name] for name, value in values.items())


def _repeated(rows: Sequence[tuple[int, dict[str, Any]]], column: str) -> list[Mistake]:
    first: dict[object, int] = {}
    mistakes = []
    for number, values in rows:
        value = values[column]
        # Names of files differ in case between rigs; two animals must not differ in case only.
        same = value.lower() if isinstance(value, str) else value
        if same is not None and first.setdefault(same, number) != number:
            expected = f"another value than in row {first[same]}"
            mistakes.append(Mistake(number, column, repr(value), expected))
    return mistakes


def _table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    schema = TABLES[name].file_schema
    return pa.table(
        [pa.array([row.get(field.name) for row in rows], field.type) for field in schema],
        schema=schema,
    )


READER = Reader("animals", "animals", find_sheet, read)
