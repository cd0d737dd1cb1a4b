"""Mending the records of a session, its state and manifest, from each other and from its files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from maplake.config import Config
from maplake.ingest.lakes import writing
from maplake.ingest.outdated import CHANGED
from maplake.ingest.session import IN, SESSION_KINDS, WAITING, State
from maplake.ingest.state import (
    SourceState,
    hash_whole_file,
    is_whole,
    read_manifest,
    read_state,
    state_json,
)
from maplake.layout import Layout, manifest_file, spare_file, state_file
from maplake.query.known import tables_of
from maplake.tables import Table
from maplake.tables.own import KIND as COMPUTED
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

__all__ = ["mend_records"]

Files = dict[str, dict[str, Any]]


def mend_records(config: Config, names: Iterable[str]) -> list[str]:
    """Make records of sessions anew that are damaged, missing or contradict each other.

    Files are entered as they are; what was read from raw files is to be read again then, and
    computed rows go, as nothing tells any more what they were computed from.

    Returns
    -------
    The names of the sessions whose records were mended.
    """
    mended = []
    with writing(config) as layout:
        for name in names:
            if _is_sound(layout, name):
                continue
            with staging_run(layout.root) as run:
                stage = Stage(layout, run)
                _mend(layout, name, stage)
                commit(layout, [stage.finish()], {"command": "rebuild", "records": name})
            mended.append(name)
    return mended


def _is_sound(layout: Layout, name: str) -> bool:
    places = [layout.root / record for record in (state_file(name), manifest_file(name))]
    if not any(place.exists() for place in places):
        return not _on_disk(layout, name)
    if not all(is_whole(place) for place in places):
        return False
    files = read_manifest(layout, name)
    outputs = _outputs(read_state(layout, name))
    owned = {path for path in files if any(place in outputs for place in _places(path))}
    named = {place for path in files for place in _places(path)}
    return len(owned) == len(files) and outputs <= named


def _outputs(states: State) -> set[str]:
    return {path for state in states.values() for path in state.outputs}


def _places(path: str) -> Iterable[str]:
    """Yield a file's path and those of the folders above it."""
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(len(parts), 1, -1))


def _mend(layout: Layout, name: str, stage: Stage) -> None:
    tables = tables_of(layout.root)
    states, files = _states(layout, name), _manifest(layout, name)
    found = _on_disk(layout, name)
    gone = sorted(p for p in found | files.keys() if _kind(tables, p) == COMPUTED)
    for path in found:
        if path not in files:
            files[path] = _entry(layout, path)
    outputs = _outputs(states)
    for path in sorted(files):
        if not any(place in outputs for place in _places(path)) and path not in gone:
            _adopt(states, path, _kind(tables, path), files[path])
    for path in gone:
        files.pop(path, None)
        stage.delete(path)
    kept = {key: _forgotten(state) for key, state in states.items()}
    stage.json(manifest_file(name), {"files": files})
    stage.json(state_file(name), state_json(kept.values()))


def _states(layout: Layout, name: str) -> State:
    place = layout.root / state_file(name)
    return read_state(layout, name) if is_whole(place) else {}


def _manifest(layout: Layout, name: str) -> Files:
    place = layout.root / manifest_file(name)
    return read_manifest(layout, name) if is_whole(place) else {}


def _on_disk(layout: Layout, name: str) -> set[str]:
    subject, _, session = name.partition("_")
    folders = f"subject_id={subject}/session={session}"
    found = [*layout.root.glob(f"tables/*/*/{folders}"), *layout.root.glob(f"arrays/*/{folders}")]
    return {
        path.relative_to(layout.root).as_posix()
        for folder in found
        for path in folder.rglob("*")
        if path.is_file()
    }


def _kind(tables: Mapping[str, Table], path: str) -> str:
    """Return the kind of source that a table's file is from; empty if several make it."""
    table = tables.get(".".join(path.split("/")[1:3])) if path.startswith("tables/") else None
    return "" if table is None else table.kind


def _entry(layout: Layout, path: str) -> dict[str, Any]:
    """Return what a manifest says of a file; of its second copy where there is one."""
    spare = layout.root / spare_file(path)
    file = spare if spare.exists() else layout.root / path
    rows = None
    if path.startswith("tables/"):
        try:
            rows = pq.read_metadata(file).num_rows
        except (OSError, pa.ArrowException):
            rows = 0
    return {"rows": rows, "bytes": file.stat().st_size, "sha256": hash_whole_file(file)}


def _adopt(states: State, path: str, kind: str, entry: Mapping[str, Any]) -> None:
    """Enter a file that cannot be read again from raw files under a source of its kind."""
    levels = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
    number = levels.get("insertion_number")
    if kind in SESSION_KINDS or not kind or not path.startswith("tables/"):
        if "archive" not in levels and "/archive/" not in path:
            return  # read again
        kind = "archive"
    name = {"session_meta": "session_meta", "insertion_location": f"insertion {number}"}.get(kind)
    if kind == "archive":
        label = levels.get("archive") or Path(path.split(".zarr/")[0]).name
        what = "histology" if label.startswith("histology_") else "ephys"
        name = f"{what} {number} {label}"
    if name is None:
        table = ".".join(path.split("/")[1:3])
        name = f"{table} {number}" if number else table
    state = states.setdefault(
        (kind, name),
        SourceState(
            kind,
            name,
            IN,
            None,
            int(levels["subject_id"]),
            int(levels["session"]),
            int(number) if number else None,
        ),
    )
    output = path.split(".zarr/")[0] + ".zarr" if ".zarr/" in path else path
    if output not in state.outputs:
        state.outputs.append(output)
    if entry["rows"] is not None:
        state.rows[".".join(path.split("/")[1:3])] = int(entry["rows"])


def _forgotten(state: SourceState) -> SourceState:
    """Let a computed partition wait to be computed again."""
    if state.kind != COMPUTED or state.status != IN:
        return state
    return dataclasses.replace(state, status=WAITING, reason=CHANGED, outputs=[], rows={}, files={})
