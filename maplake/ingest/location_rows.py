"""What rows of a sheet of insertion locations stand for, and what has no row any more."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.ingest.session import IN, State
from maplake.ingest.state import SourceState
from maplake.layout import Layout, session_name, table_file
from maplake.tables import get

if TYPE_CHECKING:
    import pyarrow as pa

    from maplake.readers.insertion_locations import InsertionRow

__all__ = ["KIND", "Place", "gone_from", "of_earlier", "tables_of", "times_named"]

KIND = "insertion_location"
_TIME_IN_NAME = re.compile(r"\d{8}[-_](\d{6})$")


@dataclass(frozen=True)
class Place:
    """The insertion that a row belongs to, and its session's behavior."""

    subject_id: int
    session: int
    insertion_number: int
    behavior: str

    @property
    def partition(self) -> dict[str, int]:
        """The columns that name it."""
        return {
            "subject_id": self.subject_id,
            "session": self.session,
            "insertion_number": self.insertion_number,
        }

    @property
    def name(self) -> str:
        """Name of its session's state file."""
        return session_name(self.subject_id, self.session)


def gone_from(
    states: Mapping[str, State],
    subjects: Mapping[str, int],
    file: Path,
    kept: Iterable[Place],
    read: AbstractSet[str],
    unread: AbstractSet[str],
    *,
    is_sure: bool,
) -> Iterator[tuple[str, SourceState]]:
    """Yield what was loaded from a sheet that has no row of it any more, with its session's name.

    Parameters
    ----------
    states, subjects
        What the lake has of sessions, and its animals' numbers by their short names.
    file
        The sheet.
    kept
        What it has rows of.
    read, unread
        Its animals, in lower case, of whom all rows were read and fit, and the others.
    is_sure
        Whether all rows that were read fit: else one may be of an animal that seems to have none.
    """
    places = {(place.name, place.insertion_number) for place in kept}
    animals = {number: h2o.lower() for h2o, number in subjects.items()}
    sheet = str(file)
    for name, session in states.items():
        for state in session.values():
            is_its = state.kind == KIND and state.status == IN and state.path == sheet
            if is_its and (name, state.insertion_number) not in places:
                animal = animals.get(state.subject_id or 0, "")
                if animal in read or (is_sure and animal not in unread):
                    yield name, state


def of_earlier(
    states: Mapping[str, State], place: Place, earlier: Sequence[Path]
) -> SourceState | None:
    """Return what an earlier sheet says of an insertion; it stays so, whatever a later one says.

    Else each run would load both sheets, and the last one would stay unsaid.
    """
    known = states.get(place.name, {}).get((KIND, f"insertion {place.insertion_number}"))
    is_its = known is not None and known.status == IN and Path(known.path) in earlier
    return known if is_its else None


def times_named(start: datetime, files: Iterable[str]) -> frozenset[str]:
    """Return the times of day, HHMMSS, that the names of a session's behavior files tell."""
    found = (_TIME_IN_NAME.search(Path(file).stem) for file in files)
    return frozenset({f"{start:%H%M%S}", *(match[1] for match in found if match)})


def tables_of(layout: Layout, row: InsertionRow, place: Place) -> dict[str, pa.Table]:
    """Return the tables that have rows of it."""
    rows: dict[str, list[dict[str, Any]]] = {
        "ephys.insertion_location": [
            {name: getattr(row, name) for name in get("ephys.insertion_location").file_schema.names}
        ],
        "ephys.recordable_brain_region": [
            {"brain_area": row.brain_area, "hemisphere": row.hemisphere}
        ],
    }
    quality = ("drift_presence", "number_of_landmarks", "alignment_confidence")
    if any(getattr(row, name) is not None for name in quality):
        rows["ephys.probe_insertion_quality"] = [{name: getattr(row, name) for name in quality}]
    if row.insertion_comment:
        rows["ephys.insertion_note"] = [{"insertion_note": row.insertion_comment}]
    if row.good_periods:
        trials = _session_trials(layout, place)
        last: float = max(trials["stop_time"].to_pylist())
        # To the end, of a recording that ended before: no time at all.
        periods = [
            (start, max(start, last) if end is None else end) for start, end in row.good_periods
        ]
        rows["ephys.good_period"] = [
            {"good_period_start": start, "good_period_end": end} for start, end in periods
        ]
        rows["ephys.good_trial"] = [{"trial": trial} for trial in _good_trials(trials, periods)]
    import pyarrow as pa

    tables = {
        name: pa.Table.from_pylist(found, schema=get(name).file_schema)
        for name, found in rows.items()
    }
    return {name: table for name, table in tables.items() if table.num_rows}


def _session_trials(layout: Layout, place: Place) -> pa.Table:
    import pyarrow.parquet as pq

    path = layout.root / table_file(get("experiment.session_trial"), place.partition)
    return pq.ParquetFile(path).read()


def _good_trials(trials: pa.Table, periods: Sequence[tuple[float, float]]) -> list[int]:
    """Return the trials that lie wholly inside a good period."""
    columns = (trials[name].to_pylist() for name in ("trial", "start_time", "stop_time"))
    return sorted(
        trial
        for trial, begin, stop in zip(*columns, strict=True)
        if any(start <= begin and stop <= end for start, end in periods)
    )
