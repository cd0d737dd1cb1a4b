"""From the records of a behavior session to the rows of its tables, and what alignment needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from maplake import readers
from maplake.config import Config
from maplake.errors import CorruptFileError
from maplake.ingest.align import BehaviorTrials
from maplake.ingest.session import Item
from maplake.ingest.sources import BEHAVIOR, Part, Source, reading
from maplake.ingest.state import SourceState
from maplake.ingest.work import Work
from maplake.layout import Layout, table_file
from maplake.readers.base import BehaviorContext, Reader, Records
from maplake.tables import get

_CODE = "bitcode"


def take(work: Work, item: Item, state: SourceState) -> None:
    """Read a behavior session and stage its rows."""
    source = item.source
    reader = _reader(source.parts[0])
    state.reader, state.reader_version = reader.name, reader.version
    records = _read(source.parts[0], reader, work.config.behavior_context)
    found = tables(records, source, work.config)
    work.trials = trials_of_records(records)
    work.tables(state, found, work.plan.partition)
    work.result.lookups += lookups(found["experiment.session"]).items()
    work.skipped(state, BEHAVIOR, records.skipped)


def _reader(part: Part) -> Reader:
    """Return the reader of a file: formats of one name are told apart by what is in them."""
    reader = part.get_reader()
    if not reader.joins:
        for other in readers.of_kind(BEHAVIOR):
            with reading(part.path, other.name):
                if other.recognise and other.find(part.path) and other.recognise(part.path):
                    return other
    return reader


def _read(part: Part, reader: Reader, context: BehaviorContext) -> Records:
    with reading(part.path, reader.name):
        return reader.read(part.paths if reader.joins else part.path, context)


def trials_of(work: Work) -> BehaviorTrials:
    """Return what alignment needs of the session's behavior, read just now or in the lake."""
    if work.trials is None:
        for name in ("behavior_trial", "trial_note", "trial_event"):
            work.file(f"experiment.{name}", work.plan.partition)  # refuses a damaged one
        work.trials = trials_of_lake(work.layout, work.plan.partition)
    return work.trials


def tables(records: Records, source: Source, config: Config) -> dict[str, pa.Table]:
    """Return the rows of all tables by name, without the columns of the folder names."""
    found = {name: data for name, data in records.tables.items() if data.num_rows}
    session = found.get("experiment.session")
    if session is None or session.num_rows != 1:
        raise CorruptFileError("the behavior file yields no session", file=source.path)
    for name, value in (("username", config.behavior.session_user), ("rig", source.rig)):
        if name not in session.column_names:
            session = session.append_column(name, pa.array([value]))
    return found | {"experiment.session": session}


def lookups(session: pa.Table) -> dict[str, pa.Table]:
    """Return the rows that a session needs in tables entered by people, should they lack them."""
    person = get("lab.person").file_schema
    rig = get("lab.rig").file_schema
    users = session["username"].to_pylist()
    return {
        "lab.person": pa.Table.from_pylist(
            [{"username": u, "fullname": None} for u in users], schema=person
        ),
        "lab.rig": pa.Table.from_pylist(
            [
                {"rig": name, "room": None, "rig_description": None}
                for name in session["rig"].to_pylist()
            ],
            schema=rig,
        ),
    }


def trials_of_records(records: Records) -> BehaviorTrials:
    """Return what alignment needs from records just read."""
    return _trials(
        records.tables["experiment.behavior_trial"],
        records.tables.get("experiment.trial_note"),
        records.tables.get("experiment.trial_event"),
        (item.item for item in records.skipped if item.item_type == "trial"),
    )


def trials_of_lake(layout: Layout, partition: Mapping[str, Any]) -> BehaviorTrials:
    """Return what alignment needs from a session that is in the lake."""
    skipped = _file(layout, "ingest.skipped", {**partition, "source": BEHAVIOR})
    items: list[str] = []
    if skipped is not None:
        rows = skipped.select(["item_type", "item"]).to_pylist()
        items = [row["item"] for row in rows if row["item_type"] == "trial"]
    behavior = _file(layout, "experiment.behavior_trial", partition)
    if behavior is None:
        raise CorruptFileError(
            "the session's behavior trials are missing in the lake",
            file=layout.root,
            hint="Run `maplake check`, then `maplake rebuild`.",
        )
    notes = _file(layout, "experiment.trial_note", partition)
    return _trials(behavior, notes, _file(layout, "experiment.trial_event", partition), items)


def _file(layout: Layout, name: str, partition: Mapping[str, Any]) -> pa.Table | None:
    path = layout.root / table_file(get(name), partition)
    return pq.ParquetFile(path).read() if path.exists() else None


def _trials(
    behavior: pa.Table, notes: pa.Table | None, events: pa.Table | None, skipped: Iterable[str]
) -> BehaviorTrials:
    order = np.argsort(behavior["trial"].to_numpy(), kind="stable")
    trial = behavior["trial"].to_numpy().astype(np.int64)[order]
    free = np.asarray(behavior["free_water"].to_pylist(), dtype=bool)[order]
    codes: dict[int, str] = {}
    if notes is not None:
        codes = {
            row["trial"]: row["trial_note"]
            for row in notes.select(["trial", "trial_note_type", "trial_note"]).to_pylist()
            if row["trial_note_type"] == _CODE
        }
    numbers = [*trial.tolist(), *(int(item) for item in skipped if item.isdigit())]
    return BehaviorTrials(
        trial,
        [codes.get(number) for number in trial.tolist()],
        free,
        max(numbers, default=0),
        _go_times(trial, events),
    )


def _go_times(trial: NDArray[np.int64], events: pa.Table | None) -> NDArray[np.float64]:
    """Return the last go cue of each trial, s from trial start; NaN = none."""
    go = np.full(len(trial), np.nan)
    if events is None:
        return go
    types = np.asarray(events["trial_event_type"].to_pylist())
    at = np.flatnonzero(types == "go")
    numbers, times = events["trial"].to_numpy()[at], events["trial_event_time"].to_numpy()[at]
    order = np.argsort(times, kind="stable")
    go[np.searchsorted(trial, numbers[order])] = times[order]
    return go
