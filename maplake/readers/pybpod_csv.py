"""Session files of pybpod: ``;``-separated rows, ``|`` as quote character, and what was printed.

Some files were written or read back without the quote rule, so the rows are told apart here line
by line: a line that begins like a row is one, whatever quotes are still open.
"""

from __future__ import annotations

import ast
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    UnreadableFileError,
)
from maplake.readers.plain_text import decode

__all__ = ["Row", "SessionFile", "first_item", "literal", "pc_time", "read_head", "read_session"]

COLUMNS = ["TYPE", "PC-TIME", "BPOD-INITIAL-TIME", "BPOD-FINAL-TIME", "MSG", "+INFO"]

_MOST_BYTES = 1 << 27
_HEAD_BYTES = 1 << 16
_MOST_LITERAL = 1_000_000  # characters
_MOST_LINES = 1000  # of one quoted field
_DEEPEST = 50  # brackets within brackets
_ROW = re.compile(r"[A-Za-z][A-Za-z-]*;\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|[A-Z]+(?:-[A-Z]+)*;;;;")


class Row(NamedTuple):
    """A row; ``info`` is the column ``+INFO``."""

    type: str
    pc_time: str
    initial: str
    final: str
    msg: str
    info: str


@dataclass(frozen=True)
class SessionFile:
    """The rows of a file.

    Attributes
    ----------
    path
        The file.
    rows
        In order, without blank ones.
    strays
        Number of lines that are no rows (exception texts and the like).
    """

    path: Path
    rows: list[Row]
    strays: int

    def info(self, name: str) -> str:
        """Return the value of an INFO row, e.g. ``SUBJECT-NAME``; ``""`` if there is none."""
        return next((row.info for row in self.rows if row.msg == name), "")


def read_session(path: Path) -> SessionFile:
    """Read a session file.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If it is not there or cannot be read.
    CorruptFileError
        If it is empty, no text, or cut off before the first row.
    FileFormatError
        If it has no column row of pybpod.
    """
    return _parse(path, _read_text(path, _MOST_BYTES + 1))


def read_head(path: Path) -> SessionFile:
    """Read the first rows of a session file, as far as needed to know whose it is.

    Raises
    ------
    SourceError
        As :func:`read_session`.
    """
    text = _read_text(path, _HEAD_BYTES)
    return _parse(path, text.rpartition("\n")[0] or text)


def _read_text(path: Path, count: int) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(count)
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    if not content.strip():
        raise CorruptFileError("the file is empty", file=path, expected="a pybpod session")
    if len(content) > _MOST_BYTES:
        raise FileFormatError("the file is too large for a pybpod session", file=path)
    if b"\0" in content:
        raise CorruptFileError("binary data", file=path, expected="a pybpod session (text)")
    return decode(content)


def _parse(path: Path, text: str) -> SessionFile:
    lines = text.replace("\r\n", "\n").split("\n")
    start = next((i for i, line in enumerate(lines[:50]) if _is_header(line)), None)
    if start is None:
        cut = lines[0].startswith("__UUID4__")
        kind = CorruptFileError if cut else FileFormatError
        raise kind(
            "there is no column row" + (": the file is cut off" if cut else ""),
            file=path,
            found=repr(lines[0][:40]),
            expected=";".join(COLUMNS),
        )
    strays = 0
    rows = []
    for fields in _records(lines[start + 1 :]):
        if fields is None:
            strays += 1
        elif fields[4].strip() not in ("", "|"):
            rows.append(Row(*fields))
    return SessionFile(path, rows, strays)


def _is_header(line: str) -> bool:
    return [name.strip("|") for name in line.split(";")] == COLUMNS


def _records(lines: Sequence[str]) -> Iterator[list[str] | None]:
    """Yield the six fields of each row; None for a line that is none. Blank lines are passed."""
    place = 0
    while place < len(lines):
        line = lines[place]
        place += 1
        if "|" not in line:
            if line.strip():
                yield _split(line)
            continue
        # A quoted field may hold newlines; a row that begins meanwhile shows a stray quote.
        end = place
        stop = min(len(lines), place + _MOST_LINES)
        while line.count("|") % 2 and end < stop and not _ROW.match(lines[end]):
            line = f"{line}\n{lines[end]}"
            end += 1
        if line.count("|") % 2:
            line = lines[place - 1].replace("|", "")
        else:
            place = end
        if line.strip("|; \n"):
            yield _unquote(line)


def _split(line: str) -> list[str] | None:
    fields = line.split(";", 5)
    return fields if len(fields) == 6 and fields[0] else None


def _unquote(line: str) -> list[str] | None:
    if "|" not in line:
        return _split(line)
    try:
        fields = next(csv.reader([line], delimiter=";", quotechar="|"), [])
    except csv.Error:
        return None
    return [*fields[:5], ";".join(fields[5:])] if len(fields) >= 6 and fields[0] else None


def pc_time(row: Row) -> datetime | None:
    """Return a row's time on the rig's computer; None if it has none. Fractions may be missing."""
    try:
        return datetime.fromisoformat(row.pc_time.strip()).replace(tzinfo=None)
    except ValueError:
        return None


def literal(text: str) -> Any:
    """Parse a Python literal; nothing is executed.

    ``nan`` and ``inf`` as printed by numpy stand for None.

    Raises
    ------
    CorruptFileError
        If it is anything but a literal, too long or too deeply nested.
    """
    if len(text) > _MOST_LITERAL or _depth(text) > _DEEPEST:
        raise CorruptFileError(
            "the literal is too long or too deep", found=f"{len(text)} characters"
        )
    try:
        return ast.literal_eval(
            re.sub(r"(?<![\w'\"])-?(?:nan|inf)(?![\w'\"])", "None", text.strip())
        )
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise CorruptFileError(
            "is no plain value", found=repr(text[:60]), expected="a Python literal"
        ) from error


def _depth(text: str) -> int:
    deepest = depth = 0
    for bracket in re.findall(r"[\[({})\]]", text):
        depth += 1 if bracket in "[({" else -1
        deepest = max(deepest, depth)
    return deepest


def first_item(text: str) -> str:
    """Return the first item of a list as pybpod writes it: ``"['HH09', …]"`` gives ``HH09``.

    Text that is no list is returned as it is, without quotes.
    """
    match = re.search(r"[\[(]\s*(['\"])(.*?)\1", text)
    return match[2].strip() if match else text.strip().strip("'\"")
