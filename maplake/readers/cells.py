"""The cells of spreadsheets: from the text in them to numbers, days and words, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import lru_cache
from pathlib import Path
from typing import Any

from maplake.errors import SpreadsheetError

__all__ = [
    "FORMULA_ERRORS",
    "Cell",
    "Field",
    "Mistake",
    "Row",
    "convert",
    "one_of",
    "refuse",
    "to_date",
    "to_number",
    "to_text",
    "to_time",
    "to_truth",
    "whole",
]

Cell = str | None
Converter = Callable[[str], Any]
_INT32 = 2**31
#: What people and programs write where there is no number, day or yes; pandas reads it so, too.
_NOTHING = frozenset({"na", "n/a", "nan", "none", "null", "#n/a", "#na", "<na>"})

#: What a spreadsheet program shows of a formula that failed, by the name that its reader gives it.
FORMULA_ERRORS = {
    "NA": "#N/A",
    "Div0": "#DIV/0!",
    "Ref": "#REF!",
    "Name": "#NAME?",
    "Value": "#VALUE!",
    "Num": "#NUM!",
    "Null": "#NULL!",
}
_NO_TEXT = frozenset({*FORMULA_ERRORS.values(), "#ERROR!"})

#: Cells of a column are often the same.
_MANY = 4096

_NUMBER = re.compile(r"[+\-\u2212]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_AMERICAN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: .*)?")
_CLOCK = re.compile(
    r"(\d{4}-\d\d-\d\d[ T])?(\d{1,2}):(\d\d)(?::(\d\d)(?:\.0*)?)?(?:\s*([AaPp])\.?[Mm]\.?)?",
    re.ASCII,
)
_SHORT = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?: .*)?")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its number as the spreadsheet program shows it, its cells by header.

    ``is_semicolon`` tells that semicolons part its cells, as where people write the day first.
    """

    number: int
    cells: Mapping[str, Cell]
    is_semicolon: bool = False


@dataclass(frozen=True, slots=True)
class Field:
    """A column: its converter (ValueError says what it expects) and whether it may be blank."""

    name: str
    converter: Converter
    required: bool = False


@dataclass(frozen=True, slots=True)
class Mistake:
    """A cell that cannot be used."""

    row: int
    column: str
    found: str
    expected: str

    def __str__(self) -> str:
        return f"row {self.row}, column {self.column}: found {self.found}; expected {self.expected}"


def convert(row: Row, fields: Iterable[Field]) -> tuple[dict[str, Any], list[Mistake]]:
    """Return the values of a row by column (None where blank), and every mistake in it.

    ``NA`` and the like are blank, but where they are a value.
    """
    values: dict[str, Any] = {}
    mistakes = []
    for field in fields:
        text = row.cells.get(field.name)
        values[field.name] = None
        try:
            if text is not None:
                values[field.name] = _value(row, field, text)
        except ValueError as error:
            if text is not None and text.lower() not in _NOTHING:
                mistakes.append(Mistake(row.number, field.name, repr(text), str(error)))
                continue
            text = None
        if text is None and field.required:
            mistakes.append(Mistake(row.number, field.name, "nothing", "a value"))
    return values, mistakes


def _value(row: Row, field: Field, text: str) -> Any:
    if row.is_semicolon and field.converter is to_date and _AMERICAN.fullmatch(text):
        raise ValueError("a date as YYYY-MM-DD: this may be day or month first")
    return field.converter(text)


def refuse(file: Path, mistakes: Sequence[Mistake]) -> None:
    """Raise one error that lists all mistakes, if there are any.

    Raises
    ------
    SpreadsheetError
        With the place, what was found and what was expected of each.
    """
    if len(mistakes) == 1:
        one = mistakes[0]
        raise SpreadsheetError(
            "the cell cannot be used",
            file=file,
            place=f"row {one.row}, column {one.column}",
            found=one.found,
            expected=one.expected,
        )
    if mistakes:
        listed = "\n".join(f"  {mistake}" for mistake in mistakes)
        raise SpreadsheetError(f"{len(mistakes)} cells cannot be used:\n{listed}", file=file)


def to_text(text: str) -> str:
    """Return the text as it stands, unless it is what a formula that failed shows."""
    if text in _NO_TEXT:
        raise ValueError("text; the formula failed")
    return text


@lru_cache(_MANY)
def to_number(text: str) -> float:
    """Return a finite number; a comma is refused, it may mean either a decimal or thousands."""
    expected = "a number with a point as decimal mark"
    if not _NUMBER.fullmatch(text):
        raise ValueError(expected)
    value = float(text.replace("\u2212", "-"))  # spreadsheet programs write a typographic minus
    if value in (float("inf"), float("-inf")):
        raise ValueError(expected)
    return value


def whole(at_least: int) -> Converter:
    """Return a converter to a 32 bit whole number of at least ``at_least``; 2.0 is whole, too."""

    def to_whole(text: str) -> int:
        expected = f"a whole number, at least {at_least}"
        try:
            value = to_number(text)
        except ValueError:
            raise ValueError(expected) from None
        if not value.is_integer() or not at_least <= value < _INT32:
            raise ValueError(expected)
        return int(value)

    return to_whole


def one_of(*words: str, **synonyms: str) -> Converter:
    """Return a converter to one of ``words``, without regard to case; synonyms are lower case."""
    known = {word.lower(): word for word in words} | synonyms

    def to_word(text: str) -> str:
        if text.lower() not in known:
            raise ValueError(f"one of {', '.join(words)}")
        return known[text.lower()]

    return to_word


def to_truth(text: str) -> bool:
    """Return yes or no as a truth."""
    yes, no = ("yes", "y", "true", "1"), ("no", "n", "false", "0")
    if text.lower() not in yes + no:
        raise ValueError("yes or no")
    return text.lower() in yes


@lru_cache(_MANY)
def to_date(text: str) -> date:
    """Return the day of an ISO date or time (2018-02-25, 20180225) or of month/day/year.

    Parts may be without leading zeros, or parted by slashes where the year comes first.
    """
    american, short = _AMERICAN.fullmatch(text), _SHORT.fullmatch(text)
    try:
        if american:
            month, day, year = (int(part) for part in american.groups())
            return date(year, month, day)
        if short:
            return date(int(short[1]), int(short[3]), int(short[4]))
        return datetime.fromisoformat(text).date()
    except ValueError:
        raise ValueError("a date as YYYY-MM-DD or M/D/YYYY") from None


def to_time(text: str) -> time:
    """Return a time of day from HHMMSS (leading zeros may be lost), H:MM:SS (AM) or a time cell."""
    digits = re.fullmatch(r"(\d{1,6})(?:\.0)?", text)
    clock = _CLOCK.fullmatch(text)
    try:
        if digits:
            return datetime.strptime(digits[1].zfill(6), "%H%M%S").time()
        if clock:
            day, hour, minute, second, half = clock.groups()
            if half and not day and 1 <= int(hour) <= 12:
                return time(int(hour) % 12 + 12 * (half in "pP"), int(minute), int(second or 0))
            if not half:
                return time(int(hour), int(minute), int(second or 0))
    except ValueError:
        pass
    raise ValueError("a time of day as HHMMSS")
