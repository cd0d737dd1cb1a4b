"""The spreadsheets that people fill in: animals and insertion locations."""

from __future__ import annotations

import csv
import importlib
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from maplake.simulate.truth import Animal, Probe

Row = Mapping[str, object]


def animal_rows(animals: Sequence[Animal]) -> list[Row]:
    """Return a row per animal."""
    return [
        {
            "subject_id": animal.subject_id,
            "water_restriction_number": animal.h2o,
            "username": animal.username,
            "cage_number": animal.cage_number,
            "date_of_birth": animal.date_of_birth.isoformat(),
            "sex": animal.sex,
            "animal_source": animal.animal_source,
            "wr_start_date": animal.wr_start_date.isoformat(),
            "wr_start_weight": animal.wr_start_weight,
        }
        for animal in animals
    ]


def insertion_rows(probes: Sequence[Probe]) -> list[Row]:
    """Return a row per probe insertion; locations in um, angles in degrees."""
    starts = {(p.session.h2o, p.session.start) for p in probes}
    return [_insertion_row(probe, starts) for probe in probes]


def _insertion_row(probe: Probe, starts: Collection[tuple[str, datetime]]) -> Row:
    session = probe.session
    that_day = [s for h2o, s in starts if (h2o, s.date()) == (session.h2o, session.start.date())]
    return {
        "subject_id": session.subject_id,
        "water_restriction_number": session.h2o,
        "session_date": session.start.date().isoformat(),
        "behaviour_time": f"{session.start:%H%M%S}" if len(that_day) > 1 else "",
        "insertion_number": probe.insertion_number,
        "project": "MAP",
        "skull_reference": "Bregma",
        "ap_location": 2500.0,
        "ml_location": -1500.0 if probe.hemisphere == "left" else 1500.0,
        "depth": -2900.0,
        "theta": 15.0,
        "phi": 15.0,
        "beta": 0.0,
        "brain_area": "ALM",
        "hemisphere": probe.hemisphere,
        "drift_presence": "no",
        "number_of_landmarks": 24,
        "alignment_confidence": "yes",
        "insertion_comment": f"{probe.hemisphere} ALM, as planned",
        "good_period": ";".join(
            f"{start:g}-{'end' if end is None else format(end, 'g')}"
            for start, end in probe.good_periods
        ),
    }


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the same columns as ``.csv``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def write_xlsx(path: Path, rows: Sequence[Row]) -> None:
    """Write rows with the same columns as ``.xlsx``; headers as people type them.

    Raises
    ------
    ModuleNotFoundError
        If openpyxl, which is no dependency of maplake, is not installed.
    """
    book = importlib.import_module("openpyxl").Workbook()
    sheet = book.active
    sheet.append([name.replace("_", " ").capitalize() for name in rows[0]])
    for row in rows:
        sheet.append([None if value == "" else value for value in row.values()])
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(path)
