"""The foraging lab's list of surgeries, ``{meta_dir}/Surgery.csv``: who its animals are.

Columns: project, status, animal#, ID (the h2o), cage#, DOB, sex, experimenter; others are not read.
An animal counts whose project is foraging and whose status is training or sacrificed. Its water
restriction starts with the first Date and the first Weight (g) of ``{ID}.csv`` beside the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maplake.errors import MissingFileError, SourceError
from maplake.readers.animals import animal_tables, to_sex, to_weight
from maplake.readers.base import Records, Skipped
from maplake.readers.cells import Field, Row, convert, refuse, to_date, to_text, whole
from maplake.readers.sheets import load_rows

__all__ = ["animals_named", "read_surgeries"]

_STATUS = ("training", "sacrificed")


def _to_h2o(text: str) -> str:
    if text.lower() == "nan":  # what pandas writes of a blank cell
        raise ValueError("a name")
    name = to_text(text)
    if Path(name).name != name:
        raise ValueError("a name that files can have")
    return name


#: What lab.subject and lab.water_restriction call the columns.
_OURS = {
    "animal#": "subject_id",
    "id": "water_restriction_number",
    "cage#": "cage_number",
    "dob": "date_of_birth",
    "sex": "sex",
    "experimenter": "username",
}
_FIELDS = (
    Field("animal#", whole(at_least=0)),
    Field("id", _to_h2o),
    Field("cage#", whole(at_least=0)),
    Field("dob", to_date),
    Field("sex", to_sex),
    Field("experimenter", to_text),
)
_DAY = (Field("date", to_date), Field("weight", to_weight))


def read_surgeries(path: Path) -> Records:
    """Read the animals of the foraging project and the start of their water restriction.

    Parameters
    ----------
    path
        ``Surgery.csv``; the animals' ``{ID}.csv`` lie beside it.

    Returns
    -------
    Records
        Tables ``lab.person``, ``lab.subject`` and ``lab.water_restriction`` as of a sheet of
        animals, a row per animal. Skipped, by the number of the row: a ``row`` with a wrong cell,
        or that repeats an animal or a name; an ``animal`` that has no number, ID or ``{ID}.csv``
        yet.

    Raises
    ------
    SourceError
        If the list is missing, unreadable, damaged or empty, or lacks a column.
    """
    animals: list[dict[str, Any]] = []
    skipped: list[Skipped] = []
    first: dict[object, int] = {}
    for row in _load(path):
        if not _is_foraging(row):
            continue
        values, mistakes = convert(row, _FIELDS)
        animal = {ours: values[name] for name, ours in _OURS.items()}
        if mistakes:
            wrong = (f"column {m.column}: found {m.found}, expected {m.expected}" for m in mistakes)
            skipped.append(_left_out("row", row, "; ".join(wrong)))
            continue
        blank = [name for name in ("animal#", "ID") if values[name.lower()] is None]
        if blank:
            reason = f"the animal has no {' and no '.join(blank)} yet"
            skipped.append(_left_out("animal", row, reason))
            continue
        # Names of files differ in case between rigs; two animals must not differ in case only.
        keys = {"animal#": animal["subject_id"], "ID": animal["water_restriction_number"].lower()}
        known = [f"{name} of row {first[key]}" for name, key in keys.items() if key in first]
        if known:
            skipped.append(_left_out("row", row, f"repeats {' and '.join(known)}, which counts"))
            continue
        first |= dict.fromkeys(keys.values(), row.number)
        try:
            start, weight = _start(path.with_name(f"{animal['water_restriction_number']}.csv"))
        except MissingFileError as error:
            reason = f"there is no {Path(error.file or '').name} beside {path.name} yet"
            skipped.append(_left_out("animal", row, reason))
        except SourceError as error:
            skipped.append(_left_out("row", row, str(error)))
        else:
            animals.append(animal | {"wr_start_date": start, "wr_start_weight": weight})
    return Records(tables=animal_tables(animals), skipped=skipped)


def animals_named(path: Path) -> set[int]:
    """Return the numbers of all animals of the list, whatever their project and status.

    Raises
    ------
    SourceError
        As :func:`read_surgeries` does.
    """
    found = (convert(row, _FIELDS[:1])[0]["animal#"] for row in _load(path))
    return {number for number in found if number is not None}


def _load(path: Path) -> Sequence[Row]:
    return load_rows(path, ("project", "status", *_OURS))


def _is_foraging(row: Row) -> bool:
    project, status = ((row.cells.get(name) or "").lower() for name in ("project", "status"))
    return project == "foraging" and status in _STATUS


def _left_out(kind: str, row: Row, reason: str) -> Skipped:
    return Skipped(kind, str(row.number), reason)


def _start(path: Path) -> list[Any]:
    """Return the first date and the first weight (g) of an animal's days; None where no day has it.

    The two may be of different days. A first one that cannot be read is an error: the next one
    would be a wrong start.
    """
    rows = load_rows(path, [field.name for field in _DAY])
    return [_first(path, rows, field) for field in _DAY]


def _first(path: Path, rows: Sequence[Row], field: Field) -> Any:
    for row in rows:
        values, mistakes = convert(row, (field,))
        refuse(path, mistakes)
        if values[field.name] is not None:
            return values[field.name]
    return None
