"""What people enter about the foraging lab: a ``.csv`` per animal, and the lab's people and rigs.

``{meta_dir}/{h2o}.csv`` has a row per day: Date, Time, Time-end, Weight (g), Water during
training (ml), Extra water (ml), Notes, Training type. Beside each other lie ``Experimenter.csv``
(username, fullname) and ``Rig.csv`` (rig, room, rig_description).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from maplake.errors import MissingFileError
from maplake.readers.base import Records, Skipped
from maplake.readers.cells import Field, Mistake, Row, convert, refuse, to_date, to_number, to_text
from maplake.readers.rows import as_table
from maplake.readers.sheets import load_rows

__all__ = ["AnimalDay", "day_tables", "read_animal", "read_lab"]

#: Kinds of training that are no sessions.
NO_SESSIONS = ("restriction", "handling", "freewater")

_REQUIRED = ("date", "time", "time-end", "water_during_training", "training_type")


@dataclass(frozen=True)
class AnimalDay:
    """A day on which an animal had a session.

    ``weight`` in g, ``water_earned`` and ``water_extra`` in ml; None = not entered. ``row`` is the
    row of the file.
    """

    h2o: str
    day: date
    row: int
    weight: float | None
    water_earned: float | None
    water_extra: float | None
    notes: str


def read_animal(path: Path) -> tuple[dict[date, AnimalDay], list[Skipped]]:
    """Read the days of an animal that had a session.

    A session has start and end, and a training type that is one; also if no water was earned.

    Parameters
    ----------
    path
        ``{h2o}.csv``.

    Returns
    -------
    days, skipped
        By date; and session rows without a usable date or number, or for a day that is there.

    Raises
    ------
    SourceError
        If the file is missing, unreadable, damaged, empty or has not the columns.
    """
    days: dict[date, AnimalDay] = {}
    skipped: list[Skipped] = []
    for row in load_rows(path, _REQUIRED):
        if not _is_session(row):
            continue
        values, mistakes = convert(row, _FIELDS)
        day = values["date"]
        if mistakes or day in days:
            reason = "; ".join(map(str, mistakes)) or f"{day} is there twice"
            skipped.append(Skipped("row", f"{path.name}: {row.number}", reason))
            continue
        days[day] = AnimalDay(
            path.stem,
            day,
            row.number,
            values["weight"],
            values["water_during_training"],
            values["extra_water"],
            values["notes"] or "",
        )
    return days, skipped


def _is_session(row: Row) -> bool:
    kind = (row.cells.get("training_type") or "").strip().lower()
    timed = all(_given(row.cells.get(name)) for name in ("time", "time-end"))
    return timed and kind not in NO_SESSIONS


def _given(text: str | None) -> bool:
    return bool(text) and str(text).strip().lower() not in ("nan", "")


def _unless_nan(converter: Callable[[str], Any]) -> Callable[[str], Any]:
    """Take pandas' ``nan`` for a blank cell."""
    return lambda text: converter(text) if _given(text) else None


_FIELDS = (
    Field("date", to_date, required=True),
    Field("weight", _unless_nan(to_number)),
    Field("water_during_training", _unless_nan(to_number)),
    Field("extra_water", _unless_nan(to_number)),
    Field("notes", _unless_nan(to_text)),
)


def day_tables(day: AnimalDay) -> dict[str, pa.Table]:
    """Return the rows of ``experiment.session_details`` and, with notes, ``session_comment``."""
    details = {
        "session_weight": [day.weight],
        "session_water_earned": [day.water_earned],
        "session_water_extra": [day.water_extra],
    }
    found = {"experiment.session_details": as_table("experiment.session_details", details)}
    if day.notes:
        comment = {"session_comment": [day.notes]}
        found["experiment.session_comment"] = as_table("experiment.session_comment", comment)
    return found


_LAB: dict[str, tuple[str, tuple[str, ...]]] = {
    "Experimenter.csv": ("lab.person", ("username", "fullname")),
    "Rig.csv": ("lab.rig", ("rig", "room", "rig_description")),
}


def read_lab(folder: Path) -> Records:
    """Read the lab's people and rigs.

    Parameters
    ----------
    folder
        With ``Experimenter.csv``, ``Rig.csv`` or both.

    Returns
    -------
    Records
        Tables ``lab.person`` and ``lab.rig``, whichever there is. Other ``.csv`` files are named
        among the skipped.

    Raises
    ------
    MissingFileError
        If neither is there.
    SourceError
        If one is unreadable, damaged, empty, or lacks a column or the name in a row.
    """
    tables = {}
    for name, (table, columns) in _LAB.items():
        if (folder / name).is_file():
            tables[table] = _entered(folder / name, table, columns)
    if not tables:
        raise MissingFileError("there is no lab metadata", file=folder, expected=", ".join(_LAB))
    others = sorted(p.name for p in folder.glob("*.csv") if p.name not in _LAB)
    skipped = [Skipped("file", name, "is no lab metadata that maplake knows") for name in others]
    return Records(tables=tables, skipped=skipped)


def _entered(path: Path, table: str, columns: Sequence[str]) -> pa.Table:
    fields = [Field(columns[0], to_text, required=True)]
    fields += [Field(name, _unless_nan(to_text)) for name in columns[1:]]
    mistakes: list[Mistake] = []
    rows: dict[str, dict[str, Any]] = {}
    for row in load_rows(path, columns[:1]):
        values, wrong = convert(row, fields)
        mistakes += wrong
        rows[str(values[columns[0]])] = values  # a name that is there twice: the last row counts
    refuse(path, mistakes)
    return as_table(table, {name: [row[name] for row in rows.values()] for name in columns})
