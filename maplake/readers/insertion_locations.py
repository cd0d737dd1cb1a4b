"""The insertions' spreadsheet: where each probe went in, and which parts of a recording are good.

Columns: subject_id, water_restriction_number, session_date, insertion_number, skull_reference,
ap_location, ml_location, depth (um), theta, phi, beta (degrees), brain_area, hemisphere; and, if
there, behaviour_time (HHMMSS), project, drift_presence, alignment_confidence (yes or no),
number_of_landmarks, insertion_comment, good_period (``0-200;230-290;400-end``, s).
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from itertools import pairwise
from pathlib import Path
from typing import Any

from maplake.readers.base import Reader, Records, Skipped
from maplake.readers.cells import (
    Field,
    Row,
    convert,
    one_of,
    to_date,
    to_number,
    to_text,
    to_time,
    to_truth,
    whole,
)
from maplake.readers.sheets import find_sheet, load_rows
from maplake.tables import TABLES

__all__ = ["READER", "InsertionRow", "parse_good_periods", "read"]

#: Start and end (s from the first trial); None = the recording's end.
Period = tuple[float, float | None]
Choose = Callable[[Mapping[str, str]], Collection[str]]
_PERIOD = re.compile(r"(\d+(?:\.\d+)?)\s*[-\u2013]\s*(\d+(?:\.\d+)?|end)", re.ASCII)
_REFERENCES = tuple(str(row[0]) for row in TABLES["lab.skull_reference"].rows)
_HEMISPHERES = tuple(str(row[0]) for row in TABLES["lab.hemisphere"].rows)


@dataclass(frozen=True, slots=True)
class InsertionRow:
    """A row of the sheet; which session it means is found by whoever knows the sessions.

    Locations in um from the reference (anterior, right and dorsal positive), angles in degrees.
    """

    row: int
    subject_id: int | None
    water_restriction_number: str
    session_date: date
    insertion_number: int
    behaviour_time: time | None
    project: str | None
    skull_reference: str
    ap_location: float
    ml_location: float
    depth: float
    theta: float | None
    phi: float | None
    beta: float | None
    brain_area: str
    hemisphere: str
    drift_presence: bool | None
    alignment_confidence: bool | None
    number_of_landmarks: int | None
    insertion_comment: str | None
    good_periods: tuple[Period, ...]


def parse_good_periods(text: str) -> tuple[Period, ...]:
    """Return the periods of ``0-200;230-290;400-end`` in s, in order of time.

    A comma parts them as well as a semicolon.

    Raises
    ------
    ValueError
        Saying what is expected, if a period is malformed, ends before it starts or overlaps
        another one.
    """
    parts = (part.strip() for part in re.split("[;,]", text))
    periods = sorted(_period(part) for part in parts if part)
    for (_, end), (start, _) in pairwise(periods):
        if end > start:
            raise ValueError("periods that do not overlap")
    return tuple((start, None if end == float("inf") else end) for start, end in periods)


def _period(text: str) -> tuple[float, float]:
    match = _PERIOD.fullmatch(text.lower())
    if match is None:
        raise ValueError("periods in s such as 0-200;230-290;400-end")
    start, end = float(match[1]), float("inf") if match[2] == "end" else float(match[2])
    if end <= start:
        raise ValueError("periods that end after they start")
    return start, end


_H2O = "water_restriction_number"
_REQUIRED = (
    Field(_H2O, to_text, required=True),
    Field("session_date", to_date, required=True),
    Field("insertion_number", whole(at_least=1), required=True),
    Field("skull_reference", one_of(*_REFERENCES), required=True),
    Field("ap_location", to_number, required=True),
    Field("ml_location", to_number, required=True),
    Field("depth", to_number, required=True),
    Field("brain_area", to_text, required=True),
    Field("hemisphere", one_of(*_HEMISPHERES), required=True),
    Field("subject_id", whole(at_least=0)),
    Field("theta", to_number),
    Field("phi", to_number),
    Field("beta", to_number),
)
_OPTIONAL = (
    Field("behaviour_time", to_time),
    Field("project", to_text),
    Field("drift_presence", to_truth),
    Field("alignment_confidence", to_truth),
    Field("number_of_landmarks", whole(at_least=0)),
    Field("insertion_comment", to_text),
    Field("good_period", parse_good_periods),
)


def read(path: Path, choose: Choose | None = None) -> Records:
    """Read the insertions of a spreadsheet.

    Parameters
    ----------
    path
        The sheet.
    choose
        Of the text of each animal's rows, by its water restriction number in lower case, says which
        animals' rows are to be read; None = all.

    Returns
    -------
    Records
        ``info["rows"]`` is a list of :class:`InsertionRow`, in the order of the sheet; rows that
        cannot be used, and those that repeat an earlier one's insertion, are in ``skipped``, their
        animals, named as above, in ``info["faulty"]``.

    Raises
    ------
    SourceError
        If the file cannot be read or lacks columns.
    """
    of_animal: dict[str, list[Row]] = defaultdict(list)
    for row in load_rows(path, (field.name for field in _REQUIRED)):
        of_animal[_animal(row)].append(row)
    wanted: Collection[str] = of_animal
    if choose is not None:
        wanted = choose({animal: _text(rows) for animal, rows in of_animal.items()})
    rows = [row for animal in wanted for row in of_animal[animal]]
    records = Records(info={"rows": [], "faulty": set()})
    seen: dict[tuple[Any, ...], int] = {}
    for row in sorted(rows, key=lambda row: row.number):
        values, mistakes = convert(row, (*_REQUIRED, *_OPTIONAL))
        reason = "; ".join(
            f"column {m.column}: found {m.found}, expected {m.expected}" for m in mistakes
        )
        if not reason:
            reason = _repeats(seen, values, row.number)
        if reason:
            records.skipped.append(Skipped("row", str(row.number), reason))
            records.info["faulty"].add(_animal(row))
        else:
            periods = values.pop("good_period") or ()
            records.info["rows"].append(InsertionRow(row.number, **values, good_periods=periods))
    return records


def _animal(row: Row) -> str:
    return (row.cells.get(_H2O) or "").lower()  # a short row lacks its last cells


def _text(rows: Sequence[Row]) -> str:
    """Return headers and cells of rows, whatever else is in the sheet."""
    lines = [list(rows[0].cells), *(list(row.cells.values()) for row in rows)]
    return json.dumps(lines)  # tells a blank cell from the word None


def _repeats(seen: dict[tuple[Any, ...], int], values: dict[str, Any], number: int) -> str:
    names = ("session_date", "behaviour_time", "insertion_number")
    key = (values[_H2O].lower(), *(values[name] for name in names))
    first = seen.setdefault(key, number)
    return "" if first == number else f"repeats the insertion of row {first}"


READER = Reader("insertion_locations", "insertion_locations", find_sheet, read)
