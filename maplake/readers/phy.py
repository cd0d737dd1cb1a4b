"""The text files of a Kilosort or phy folder: parameters, labels, notes, the log of curation."""

from __future__ import annotations

import ast
import csv
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MissingFileError,
    UnknownValueError,
    UnreadableFileError,
)

__all__ = [
    "TextTable",
    "file_time",
    "last_curation",
    "read_params",
    "read_text",
    "read_text_table",
]

_MAX_BYTES = 256 * 2**20
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\s*=(?!=)\s*(.+)")
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_CURATION = re.compile(r"Merge clusters|Split cluster|Change metadata_group")
_CLOCK = re.compile(r"(?:(\d{4}-\d\d-\d\d)[ T])?(\d\d:\d\d:\d\d)")


def read_text(path: Path) -> str:
    """Read a text file.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If it is not there or cannot be read.
    CorruptFileError
        If it is no UTF-8 text.
    FileFormatError
        If it is far too large for what it should be.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise FileFormatError("the file is too large for what it should be", file=path)
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    except UnicodeDecodeError as error:
        raise CorruptFileError("no text", file=path, place=f"byte {error.start}") from error


def read_params(path: Path) -> dict[str, Any]:
    """Read ``params.py``: the lines ``key = literal``. Nothing in it is executed.

    Other lines (imports, calls, expressions) are passed over. No file gives no parameters.

    Raises
    ------
    UnreadableFileError, CorruptFileError, FileFormatError
        If it cannot be read or is no text.
    """
    if not path.exists():
        return {}
    values = {}
    for line in read_text(path).splitlines():
        match = _ASSIGNMENT.fullmatch(line.strip())
        if match is None or len(line) > 10_000:
            continue
        try:
            # Windows paths in plain quotes would warn of their backslashes.
            with warnings.catch_warnings(action="ignore"):
                values[match[1]] = ast.literal_eval(match[2])
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return values


@dataclass(frozen=True)
class TextTable:
    """A table of text: its columns by name, all of one length."""

    path: Path
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), []))

    def words(self, column: str) -> list[str]:
        """Return a column's texts; FileFormatError if there is no such column."""
        if column not in self.columns:
            raise FileFormatError(
                f"the column {column} is missing",
                file=self.path,
                found=", ".join(self.columns) or "no columns",
            )
        return self.columns[column]

    def ids(self, column: str = "cluster_id") -> NDArray[np.int64]:
        """Return a column of whole numbers of 0 or more; CorruptFileError for any other."""
        values = self.numbers(column)
        bad = ~((values >= 0) & (values == np.rint(values)) & (values < 2**31))
        if bad.any():
            row = int(bad.argmax())
            raise self.bad(row, column, "a number of 0 or more")
        return values.astype(np.int64)

    def numbers(self, column: str) -> NDArray[np.float64]:
        """Return a column of numbers, NaN where it is empty; CorruptFileError for any other."""
        texts = [text.strip() or "nan" for text in self.words(column)]
        try:
            return np.array(texts, dtype=np.float64)
        except ValueError:
            rows = (row for row, text in enumerate(texts) if not _is_number(text))
            raise self.bad(next(rows, 0), column, "a number") from None

    def bad(self, row: int, column: str, expected: str) -> CorruptFileError:
        """Return the error for a cell; rows count from 1 below the header."""
        return CorruptFileError(
            "a value that cannot be",
            file=self.path,
            place=f"row {row + 1}, column {column}",
            found=self.columns[column][row][:40],
            expected=expected,
        )

    def unknown(self, row: int, column: str, expected: Sequence[str]) -> UnknownValueError:
        """Return the error for a word that is in no list; rows count from 1 below the header."""
        return UnknownValueError(
            "an unknown word",
            file=self.path,
            place=f"row {row + 1}, column {column}",
            found=repr(self.columns[column][row][:40]),
            expected=", ".join(expected),
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_text_table(path: Path) -> TextTable:
    """Read a table with a header, its columns parted by tabs (or commas, if there is no tab).

    Raises
    ------
    SourceError
        As :func:`read_text`; CorruptFileError if the file is empty, FileFormatError if two
        columns have one name, LengthMismatchError if a row has another number of columns.
    """
    text = read_text(path)
    header = text.partition("\n")[0]
    try:
        rows = [
            row
            for row in csv.reader(
                text.splitlines(keepends=True), delimiter="\t" if "\t" in header else ","
            )
            if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise CorruptFileError(f"no table: {error}", file=path) from error
    if not rows:
        raise CorruptFileError("the file is empty", file=path, expected="a header and rows")
    names = [name.strip() for name in rows[0]]
    if len(set(names)) < len(names):
        raise FileFormatError("two columns have one name", file=path, found=", ".join(names))
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(names):
            raise LengthMismatchError(
                "a row has another number of columns than the header",
                file=path,
                place=f"row {number}",
                found=len(row),
                expected=len(names),
            )
    columns = list(zip(*rows[1:], strict=True)) or [()] * len(names)
    return TextTable(path, {n: list(cells) for n, cells in zip(names, columns, strict=True)})


def file_time(path: Path) -> datetime:
    """Return when a file was last written: local time, to the second."""
    stamp = datetime.fromtimestamp(int(path.stat().st_mtime), tz=UTC)
    return stamp.astimezone().replace(tzinfo=None)


def last_curation(path: Path) -> datetime | None:
    """Return when units were last merged, split or relabelled by hand, to the second.

    Parameters
    ----------
    path
        ``phy.log``, with lines such as ``2020-03-02 17:13:57.410 [I] supervisor:711  Merge
        clusters 12, 13 to 450.``. Some versions write no date: it is then the file's.

    Returns
    -------
    time
        None if there is no such file, or no such line in it.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read.
    """
    last = ""
    try:
        modified = file_time(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in iter(lambda: list(islice(file, 1000)), []):
                last = next((text for text in reversed(line) if _CURATION.search(text)), last)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    if not last:
        return None
    match = _CLOCK.search(_COLOR.sub("", last))
    if match is None:
        return modified
    try:
        date, clock = match.groups()
        time = datetime.fromisoformat(f"{date or modified.date()}T{clock}")
    except ValueError:
        return modified
    # A log without dates that was closed after midnight.
    return time - timedelta(days=1) if date is None and time > modified else time
