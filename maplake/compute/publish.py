"""Commits of computed rows, and what is remembered of partitions that could not be computed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from maplake.compute.model import Computation
from maplake.compute.plan import Task, state_key
from maplake.compute.registry import own_tables
from maplake.config import Config
from maplake.ingest.lakes import writing
from maplake.ingest.outdated import changes_of, input_hash
from maplake.ingest.publish import stage_records
from maplake.ingest.session import FAILED, IN
from maplake.ingest.state import SourceState, read_all, read_manifest, read_state
from maplake.layout import LAKE_NAME, OWN_TABLES, Layout, table_file
from maplake.query.overview import manifest_files, table_name
from maplake.tables import SCHEMAS, Table, own
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run
from maplake.writers.staged import Staged

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["CHANGED", "Result", "declare", "filling", "publish", "stage_declarations", "take_away"]

#: Status of a result that is thrown away because an input changed while it was computed.
CHANGED = "changed"


@dataclass
class Result:
    """What a worker made of one task: rows by table, or what went wrong; seconds taken."""

    task: Task
    rows: dict[str, pa.Table] = field(default_factory=dict)
    error: str | None = None
    seconds: float = 0.0


def declare(config: Config, computations: Mapping[str, Computation]) -> None:
    """Write the declarations of the lab's own tables into the lake, if it does not know them yet.

    Rows of a table that is now declared otherwise go in the same commit: its files no longer fit.
    """
    found = own_tables(computations)
    known = own.read(Layout(config.lake.root).own_tables, SCHEMAS)
    if all(known.get(name) == table for name, table in found.items()):
        return
    with writing(config) as layout, staging_run(layout.root) as run:
        known = own.read(layout.own_tables, SCHEMAS)
        changed = [name for name, table in found.items() if known.get(name, table) != table]
        parts = [
            part
            for book, states in filling(layout, changed).items()
            for part in removal(layout, run, book, states)
        ]
        stage = Stage(layout, run)
        stage_declarations(stage, known | found)
        note = {"command": "compute", "declares": sorted(found)}
        commit(layout, [*parts, stage.finish()], note)


def stage_declarations(stage: Stage, tables: Mapping[str, Table]) -> None:
    """Stage the list of the lab's own tables."""
    rows = [own.as_dict(table) for _, table in sorted(tables.items())]
    stage.json(OWN_TABLES, {"tables": rows})


def filling(layout: Layout, names: Iterable[str]) -> dict[str, list[SourceState]]:
    """Return the states of computed partitions of tables, by state file."""
    wanted = set(names)
    found: dict[str, list[SourceState]] = {}
    for book, states in read_all(layout).items():
        for state in states.values():
            tables = {state.name.split(" ")[0], *(table_name(path) for path in state.outputs)}
            if state.kind == own.KIND and tables & wanted:
                found.setdefault(book, []).append(state)
    return found


def removal(layout: Layout, run: str, book: str, states: Sequence[SourceState]) -> list[Staged]:
    """Stage the removal of computed partitions; what was computed from them goes, too."""
    stage = Stage(layout, run)
    gone = [path for state in states for path in state.outputs]
    stage.staged.deletes += gone
    keys = {state.key for state in states}
    left = {key: s for key, s in read_state(layout, book).items() if key not in keys}
    stage_records(stage, layout, book, left, Staged(stage.staged.name), gone=gone)
    return [stage.finish()]


def take_away(config: Config, run: str, book: str, states: Sequence[SourceState]) -> None:
    """Remove computed partitions that have nothing any more to be computed from."""
    with writing(config) as layout:
        commit(layout, removal(layout, run, book, states), {"command": "compute", "session": book})


def publish(
    config: Config, run: str, computations: Mapping[str, Computation], group: Sequence[Result]
) -> list[str]:
    """Commit the results of one session, or remember why there are none.

    Returns
    -------
    The status of each result: ``in``, ``failed`` or ``changed``.
    """
    book = group[0].task.book
    with writing(config) as layout:
        files = _files(layout, book)
        statuses = [_status(result, files) for result in group]
        stage = Stage(layout, run)
        current = read_state(layout, book)
        new: dict[tuple[str, str], SourceState] = {}
        for result, status in zip(group, statuses, strict=True):
            if status != CHANGED:
                state = _state(stage, result, status, computations[result.task.computation])
                new[state.key] = state
        if new:
            old = [path for key in new if key in current for path in current[key].outputs]
            staged = stage.finish()
            staged.deletes += sorted(set(old) - set(staged.writes))
            extra = Stage(layout, run)
            stage_records(extra, layout, book, current | new, staged, gone=old)
            note = {
                "command": "compute",
                "session": book,
                "tables": sorted(n for _, n in new),
                "changes": [changes_of(current.get(key), state) for key, state in new.items()],
            }
            commit(layout, [staged, extra.finish()], note)
    return statuses


def _files(layout: Layout, book: str) -> dict[str, Any]:
    """Return the files that the inputs of a session's (or the lake's) tables are among."""
    if book != LAKE_NAME:
        return read_manifest(layout, book) | read_manifest(layout, LAKE_NAME)
    found = manifest_files(layout.root).values()
    return {path: entry for files in found for path, entry in files.items()}


def _status(result: Result, files: Mapping[str, Any]) -> str:
    same = all(input_hash(files, place) == h for place, h in result.task.files.items())
    if not same:
        return CHANGED
    return FAILED if result.error else IN


def _state(stage: Stage, result: Result, status: str, computation: Computation) -> SourceState:
    """Stage the rows of a result and return what is to be remembered of it."""
    task = result.task
    state = SourceState(
        *state_key(task.computation, task.key),
        status,
        result.error,
        task.key.get("subject_id"),
        task.key.get("session"),
        task.key.get("insertion_number"),
        reader=_function(computation),
        settings=task.code,
        fingerprint=hashlib.sha256(repr(sorted(task.files.items())).encode()).hexdigest(),
        files=task.files,
        path=computation.file,
        time=datetime.now().isoformat(timespec="seconds"),
    )
    for table in computation.tables:
        rows = result.rows.get(table.full_name)
        if rows is not None and rows.num_rows:
            state.rows[table.full_name] = stage.table(table, task.key, rows)
            state.outputs.append(str(table_file(table, task.key)))
    return state


def _function(computation: Computation) -> str:
    if computation.make is None:
        return "SQL"
    return f"{computation.make.__module__}.{computation.make.__qualname__}"
