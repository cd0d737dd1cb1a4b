"""DeepLabCut's ``.csv``: three header rows, four with several animals, then a row per frame."""

from __future__ import annotations

import csv
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    UnreadableFileError,
)
from maplake.readers.pose import Pose, check_finite, check_frames, feature_columns

if TYPE_CHECKING:
    import polars as pl

__all__ = ["read_csv"]

_NAMES = (["scorer", "bodyparts", "coords"], ["scorer", "individuals", "bodyparts", "coords"])
_MOST_HEADER = 4
_LONGEST_GAP = 4096  # bytes of blank lines before the first frame


def read_csv(path: Path) -> Pose:
    """Read one tracking file.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If it is not there or cannot be read.
    CorruptFileError
        If it is empty, truncated, or a value is no number.
    FileFormatError
        If its header is not DeepLabCut's.
    """
    with _mapped(path) as data:
        headers, start = _header(path, data)
        places = feature_columns(path, headers)
        table = _body(path, data, start, len(headers) + 1)
    if any(column.null_count() for column in table.get_columns()):
        table = table.fill_null(np.nan)
    columns = [column.to_numpy() for column in table.get_columns()]
    values = tuple(tuple(columns[p + 1] for p in place) for place in places.values())
    for feature, arrays in zip(places, values, strict=True):
        check_finite(path, feature, arrays)
    return Pose(check_frames(path, columns[0]), tuple(places), values)


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """Map a file into memory: it is looked at here, and polars reads it by itself."""
    try:
        with path.open("rb") as file:
            has_content = bool(file.read(1))
            # An empty file cannot be mapped.
            size = 0 if has_content else 1
            mapped = mmap.mmap(file.fileno() if has_content else -1, size, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except (OSError, ValueError) as error:
        raise UnreadableFileError(f"cannot be read: {error}", file=path) from error
    with mapped:
        if not has_content:
            raise CorruptFileError("the file is empty", file=path)
        yield mapped


def _header(path: Path, data: mmap.mmap) -> tuple[list[tuple[str, ...]], int]:
    """Return the header of each column, and where the body begins."""
    rows: list[list[str]] = []
    start = 0
    while len(rows) < _MOST_HEADER and (not rows or rows[-1][:1] != ["coords"]):
        end = data.find(b"\n", start) + 1 or len(data)
        line = data[start:end]
        if not line:
            break
        rows.append(_cells(path, line))
        start = end
    if not any(map(any, rows)):
        raise CorruptFileError("the file is empty", file=path)
    if [row[0] if row else "" for row in rows] not in _NAMES:
        raise FileFormatError(
            "no DeepLabCut header",
            file=path,
            place="first rows",
            found=", ".join(repr(row[0][:40]) if row else "''" for row in rows),
            expected="scorer, bodyparts, coords; with several animals individuals before bodyparts",
        )
    if len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        raise CorruptFileError(
            "header rows differ in length",
            file=path,
            found=", ".join(f"{row[0]} {len(row)}" for row in rows),
        )
    return list(zip(*(row[1:] for row in rows), strict=True)), start


def _cells(path: Path, line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig").rstrip("\r\n")]), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError("the header is no text", file=path, found=repr(line[:40])) from error


def _body(path: Path, data: mmap.mmap, start: int, width: int) -> pl.DataFrame:
    import polars as pl  # late: every ingest imports every reader

    gap = data[start : start + _LONGEST_GAP]
    if not gap.strip():
        raise CorruptFileError("the file holds no frames", file=path)
    # polars would take a blank line for the first row, and the file for one of one column.
    header_rows = data[: start + len(gap) - len(gap.lstrip())].count(b"\n")
    try:
        table = pl.read_csv(
            path,
            has_header=False,
            skip_rows=header_rows,
            schema={str(place): pl.Float64 for place in range(width)},
            quote_char=None,
        )
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise CorruptFileError(
            f"a row cannot be read: {_first_line(error)}",
            file=path,
            expected=f"{width} numbers in each row",
        ) from error
    # polars fills the missing end of a row with nulls, which would hide a truncated file.
    commas = _commas(data, start)
    if commas != table.height * (width - 1):  # blank lines are no rows
        table = table.filter(~pl.all_horizontal(pl.all().is_null()))
    if commas != table.height * (width - 1):
        raise CorruptFileError(
            "a row is too short or too long",
            file=path,
            place=_odd_row(data[start:], width),
            found=f"{commas + table.height} values in {table.height} rows",
            expected=f"{width} values in each row",
            hint="The file may be truncated; copy it again.",
        )
    return table


def _commas(data: mmap.mmap, start: int) -> int:
    # The view of the map must be gone before the map is closed.
    return int(np.count_nonzero(np.frombuffer(data, np.uint8, offset=start) == ord(",")))


def _odd_row(body: bytes, width: int) -> str:
    for number, line in enumerate(body.splitlines(), start=1):
        if line.count(b",") != width - 1:
            return f"row {number} after the header"
    return "after the header"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
