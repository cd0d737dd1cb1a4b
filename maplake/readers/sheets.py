"""Spreadsheets that people fill in: ``.xlsx`` and ``.csv`` as rows of texts.

Both kinds of file are read as text, so that a number typed as text, a date cell and a date typed
as text all pass through the same converters (see :mod:`maplake.readers.cells`).
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    SpreadsheetError,
    UnreadableFileError,
)
from maplake.readers.cells import FORMULA_ERRORS, Cell, Row
from maplake.readers.plain_text import decode
from maplake.readers.workbook_size import check_workbook

__all__ = ["animal_named", "find_sheet", "load_rows"]

SUFFIXES = (".xlsx", ".csv")
_Grid = list[list[Cell]]


def find_sheet(path: Path) -> Sequence[Path]:
    """Return the path if its name is that of a spreadsheet."""
    return [path] if path.suffix.lower() in SUFFIXES and path.is_file() else []


def animal_named(name: str, subjects: Mapping[str, int]) -> int | None:
    """Return the number of the animal that a sheet means; None if none or several are called so.

    Parameters
    ----------
    name
        Its water restriction number, in capitals or not, as people type it.
    subjects
        subject_id by water restriction number.
    """
    if name in subjects:
        return subjects[name]
    alike = {number for other, number in subjects.items() if other.lower() == name.lower()}
    return alike.pop() if len(alike) == 1 else None


def load_rows(file: Path, required: Iterable[str]) -> list[Row]:
    """Read the rows below the header, without the blank ones.

    Of a workbook the first sheet that has all required columns is taken, a hidden one only if no
    other has. Headers are lower-cased, spaces in them become ``_``; columns without a header are
    left out. A row of nothing but boxes that are not ticked is blank, too.

    Parameters
    ----------
    file
        A ``.xlsx`` or ``.csv`` file; the latter in UTF-8 or as Windows writes, separated by ``,``
        or ``;``.
    required
        Headers that must be there.

    Raises
    ------
    MissingFileError, UnreadableFileError, FileFormatError, CorruptFileError
        If the file is not there, cannot be read, is no spreadsheet or is damaged.
    SpreadsheetError
        If it is empty, columns are missing (all are named), or a header is there twice.
    """
    required = tuple(required)
    sheets, is_semicolon = _sheets(file)
    headed = [_headed(grid) for grid in sheets]
    best = next((s for s in headed if set(required) <= set(s[1])), headed[0] if headed else None)
    if best is None or not best[1]:
        raise SpreadsheetError("the spreadsheet is empty", file=file, expected=", ".join(required))
    top, header, grid = best
    _check_header(file, top, header, required)
    rows = _rows(file, top, header, grid, is_semicolon=is_semicolon)
    return [row for row in rows if any(map(_is_filled, row.cells.values()))]


def _is_filled(cell: Cell) -> bool:
    return cell is not None and cell.lower() != "false"


def _sheets(file: Path) -> tuple[list[_Grid], bool]:
    """Return the sheets of a file, and whether semicolons part its cells."""
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise FileFormatError("is no spreadsheet", file=file, found=suffix or "no suffix",
                              expected=".xlsx or .csv")  # fmt: skip
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise MissingFileError("there is no such spreadsheet", file=file) from None
    except OSError as error:
        raise UnreadableFileError(f"cannot be read ({error.strerror})", file=file) from None
    if not data:
        raise CorruptFileError("the file is empty (0 bytes)", file=file)
    if suffix == ".xlsx":
        return _workbook(file, data), False
    grid, delimiter = _csv(file, data)
    return [grid], delimiter == ";"


def _workbook(file: Path, data: bytes) -> list[_Grid]:
    import fastexcel

    try:
        check_workbook(data)
        book = fastexcel.read_excel(data)
        # Without header and with skip_rows=0 the rows are those of the sheet, leading blank ones
        # included; as strings, dates are ISO text and whole numbers have no fraction.
        sheets = [
            book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
            for name in book.sheet_names
        ]
        return [_grid(sheet) for sheet in sorted(sheets, key=lambda one: one.visible != "visible")]
    except (fastexcel.FastExcelError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise CorruptFileError(f"is no readable workbook ({reason})", file=file,
                               hint="Open it in a spreadsheet program and save it again.",
                               ) from None  # fmt: skip


def _grid(sheet: Any) -> _Grid:
    batch, errors = sheet.to_arrow_with_errors()
    grid = [list(cells) for cells in zip(*(column.to_pylist() for column in batch), strict=True)]
    for error in errors.errors if errors is not None else ():  # formulas that failed: #DIV/0!
        row, column = error.position
        name = re.search(r"Error\((\w+)\)", error.detail)
        grid[row][column] = FORMULA_ERRORS.get(name[1] if name else "", "#ERROR!")
    return [[_strip(cell) for cell in row] for row in grid]


def _csv(file: Path, data: bytes) -> tuple[_Grid, str]:
    text = decode(data)
    if "\0" in text:
        raise FileFormatError("is no CSV text", file=file, found="zero bytes",
                              expected="UTF-8 text", hint="Save it as CSV UTF-8.")  # fmt: skip
    first = next((line for line in text.splitlines() if line.strip(",; \t")), "")
    delimiter = ";" if first.count(";") > first.count(",") else ","
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    grid: _Grid = []
    try:
        grid.extend([cell.strip() or None for cell in line] for line in lines)
    except csv.Error as error:
        raise CorruptFileError(f"cannot be split into cells ({error})", file=file,
                               place=f"row {len(grid) + 1}") from None  # fmt: skip
    return grid, delimiter


def _strip(cell: Cell) -> Cell:
    return (cell or "").strip() or None


def _headed(grid: _Grid) -> tuple[int, list[str], _Grid]:
    """Return the place of the header (the first row that is not blank), it, and the whole grid."""
    top = next((i for i, row in enumerate(grid) if any(row)), len(grid))
    cells = grid[top] if top < len(grid) else []
    return top, [re.sub(r"\s+", "_", (cell or "").lower()) for cell in cells], grid


def _check_header(file: Path, top: int, header: list[str], required: tuple[str, ...]) -> None:
    missing = [name for name in required if name not in header]
    twice = sorted({name for name in header if name and header.count(name) > 1})
    for problem, names in (("columns are missing", missing), ("columns are there twice", twice)):
        if names:
            raise SpreadsheetError(
                f"{problem}: {', '.join(names)}",
                file=file,
                place=f"row {top + 1}",
                found=", ".join(name for name in header if name),
                expected=", ".join(required),
            )


def _rows(file: Path, top: int, header: list[str], grid: _Grid, *, is_semicolon: bool) -> list[Row]:
    rows = []
    width, is_named = len(header), all(header)
    for number, cells in enumerate(grid[top + 1 :], start=top + 2):
        if len(cells) > width and any(cells[width:]):
            raise SpreadsheetError(
                "the row has more cells than there are headers",
                file=file,
                place=f"row {number}",
                found=len(cells),
                expected=len(header),
            )
        named = zip(header, cells, strict=False)  # a short row: the rest is blank
        whole = dict(named) if is_named else {name: cell for name, cell in named if name}
        rows.append(Row(number, whole, is_semicolon))
    return rows
