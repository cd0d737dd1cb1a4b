"""Sheets of animals and insertions, written for tests."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import openpyxl
import pytest

from maplake.errors import SpreadsheetError

ANIMAL = {
    "Subject ID": 432998,
    "Water Restriction Number": "dl25",
    "username": "ann",
    "cage_number": 148861,
    "date_of_birth": dt.date(2017, 8, 7),
    "sex": "M",
    "animal_source": "Jackson labs",
    "wr_start_date": dt.date(2018, 1, 10),
    "wr_start_weight": 23.4,
}
INSERTION = {
    "subject_id": 432998,
    "water_restriction_number": "dl25",
    "session_date": dt.date(2018, 2, 25),
    "insertion_number": 1,
    "skull_reference": "Bregma",
    "ap_location": 2500,
    "ml_location": -1500.5,
    "depth": -2900,
    "theta": 15,
    "phi": 0,
    "beta": 90,
    "brain_area": "ALM",
    "hemisphere": "Left",
}


def as_csv(file: Path, rows, delimiter=",", encoding="utf-8") -> Path:
    def cell(value) -> str:
        text = "" if value is None else str(value)
        return '"' + text.replace('"', '""') + '"' if set(text) & set(',;"\n') else text

    lines = [delimiter.join(map(cell, row)) for row in rows]
    file.write_bytes("\r\n".join(lines).encode(encoding))
    return file


def as_xlsx(file: Path, rows) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(list(row))
    book.save(file)
    return file


@pytest.fixture(params=["csv", "xlsx"])
def sheet(request, tmp_path):
    """Write rows (dictionaries) as a sheet of either kind."""

    def sheet(*rows: dict, blank_above: int = 0) -> Path:
        header = list(dict.fromkeys(key for row in rows for key in row))
        grid = [[] for _ in range(blank_above)]
        grid += [header, *([row.get(name) for name in header] for row in rows)]
        write = as_csv if request.param == "csv" else as_xlsx
        return write(tmp_path / f"sheet.{request.param}", grid)

    return sheet


def mistakes(read, file: Path) -> SpreadsheetError:
    with pytest.raises(SpreadsheetError) as caught:
        read(file)
    assert caught.value.file == str(file)
    return caught.value
