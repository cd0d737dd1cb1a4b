"""Archived results: a sorting or histology that a newer one replaced, kept whole.

The files of the old result become those of the archived tables as they are. Each can be listed and
put back.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from maplake.config import Config
from maplake.errors import IntegrityError, LakeError, NotFoundError
from maplake.ingest.lakes import update_catalog, writing
from maplake.ingest.plan import subjects_by_h2o
from maplake.ingest.publish import stage_records
from maplake.ingest.session import IN, State
from maplake.ingest.sources import BEHAVIOR, EPHYS
from maplake.ingest.state import SourceState, read_all, read_state
from maplake.layout import Layout, archived_store, session_name, spike_store, table_file
from maplake.tables import get
from maplake.tables.archive import ARCHIVED
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

KIND = "archive"
_LIVING = {archived: living for living, archived in ARCHIVED.items()}


def label_of(layout: Layout, state: SourceState) -> str:
    """Return the name of a result in the archive: its method and time."""
    path = layout.root / table_file(get("ephys.clustering_label"), _partition(state))
    if state.kind == EPHYS and path.exists():
        import pyarrow.parquet as pq

        row = pq.ParquetFile(path).read(["clustering_method", "clustering_time"]).to_pylist()[0]
        return f"{row['clustering_method']}_{row['clustering_time']:%Y%m%dT%H%M%S}"
    return f"{state.kind}_{datetime.fromisoformat(state.time):%Y%m%dT%H%M%S}"


def _partition(state: SourceState) -> dict[str, Any]:
    return {
        "subject_id": state.subject_id,
        "session": state.session,
        "insertion_number": state.insertion_number,
    }


def stage_archive(stage: Stage, layout: Layout, state: SourceState) -> SourceState:
    """Stage the archive of a result that is about to be replaced.

    Parameters
    ----------
    stage
        Where to.
    layout
        The lake.
    state
        The source whose result is in the lake.

    Returns
    -------
    The state of the archived result.
    """
    label = label_of(layout, state)
    archived = dataclasses.replace(
        state, kind=KIND, name=f"{state.kind} {state.insertion_number} {label}", outputs=[]
    )
    for path in state.outputs:
        if _is_archived(PurePosixPath(path)):
            target = _archived_path(PurePosixPath(path), _partition(state), label)
            _copy(stage, layout, path, target)
            archived.outputs.append(str(target))
    return archived


def _is_archived(path: PurePosixPath) -> bool:
    """Tell whether a living file is part of what the archive keeps."""
    return path.suffix == ".zarr" or ".".join(path.parts[1:3]) in ARCHIVED


def _archived_path(path: PurePosixPath, partition: Mapping[str, Any], label: str) -> PurePosixPath:
    if path.suffix == ".zarr":
        return archived_store(partition, label)
    table = get(ARCHIVED[".".join(path.parts[1:3])])
    return table_file(table, {**partition, "archive": label})


def _living_path(path: PurePosixPath, partition: Mapping[str, Any], label: str) -> PurePosixPath:
    if path.suffix == ".zarr":
        return spike_store(partition, label.rsplit("_", 1)[0])
    return table_file(get(_LIVING[".".join(path.parts[1:3])]), partition)


def _copy(stage: Stage, layout: Layout, source: str, target: PurePosixPath) -> None:
    place = layout.root / source
    if not place.exists():
        raise IntegrityError(
            "a file that is to be archived has gone",
            file=place,
            hint="Run `maplake check`.",
        )
    if place.is_dir():
        shutil.copytree(place, stage.array(target))
    else:
        stage.copy(place, target)


def archived(config: Config) -> list[SourceState]:
    """Return the archived results of a lake, by animal, session and insertion."""
    states = [
        state
        for found in read_all(Layout(config.lake.root)).values()
        for state in found.values()
        if state.kind == KIND
    ]
    return sorted(states, key=lambda s: (s.subject_id or 0, s.session or 0, s.name))


def subject_of(config: Config, name: str) -> int:
    """Return an animal's number, given that or its water restriction number.

    Raises
    ------
    NotFoundError
        If there is no such animal.
    """
    subjects = subjects_by_h2o(Layout(config.lake.root))
    for h2o, subject_id in subjects.items():
        if name.lower() in (h2o.lower(), str(subject_id)):
            return subject_id
    raise NotFoundError(f"there is no animal {name!r}", expected=", ".join(sorted(subjects)))


def restore(
    config: Config, subject_id: int, session: int, insertion_number: int, label: str
) -> None:
    """Put an archived result back; the living one goes to the archive in the same commit.

    Parameters
    ----------
    config
        Names the lake.
    subject_id, session, insertion_number
        Which probe insertion.
    label
        Name of the result in the archive.

    Raises
    ------
    NotFoundError
        If the archive has no such result.
    LakeError
        If its session's behavior changed since: its spikes would be in other trials.
    """
    name = session_name(subject_id, session)
    with writing(config) as layout:
        state = read_state(layout, name)
        found = _find(state, insertion_number, label)
        kind = found.name.split(" ", 1)[0]
        _check_alignment(state, found)
        living = _living(state, kind, insertion_number)
        with staging_run(layout.root) as run:
            stage = Stage(layout, run)
            old = stage_archive(stage, layout, living)
            shared = [p for p in living.outputs if not _is_archived(PurePosixPath(p))]
            back = dataclasses.replace(found, kind=kind, name=living.name, outputs=shared)
            for path in found.outputs:
                target = _living_path(PurePosixPath(path), _partition(found), label)
                _copy(stage, layout, path, target)
                back.outputs.append(str(target))
            gone = [*found.outputs, *(p for p in living.outputs if p not in shared)]
            stage.staged.deletes += sorted(set(gone) - set(stage.staged.writes))
            staged = stage.finish()
            merged = {k: s for k, s in state.items() if k != found.key} | {
                old.key: old,
                back.key: back,
            }
            extra = Stage(layout, run)
            stage_records(extra, layout, name, merged, staged, gone=gone)
            note = {"command": "restore", "session": name, "archive": label}
            commit(layout, [staged, extra.finish()], note)
    update_catalog(config)


def _living(state: State, kind: str, insertion_number: int) -> SourceState:
    for one in state.values():
        if (one.kind, one.status, one.insertion_number) == (kind, IN, insertion_number):
            return one
    raise NotFoundError(
        f"the lake has no {kind} of this insertion, whose place the archived one could take",
        hint="`maplake status` says why; `maplake ingest` takes it in first.",
    )


def _find(state: State, insertion_number: int, label: str) -> SourceState:
    here = [s for s in state.values() if s.kind == KIND and s.insertion_number == insertion_number]
    for one in here:
        if one.name.endswith(f" {label}"):
            return one
    raise NotFoundError(
        f"the archive has no result {label!r} of this insertion",
        expected=", ".join(s.name.split(" ")[-1] for s in here) or "none is archived",
    )


def _check_alignment(state: State, found: SourceState) -> None:
    behavior = next((s for s in state.values() if s.kind == BEHAVIOR and s.status == IN), None)
    if found.name.startswith(EPHYS) and behavior and behavior.fingerprint != found.depends:
        raise LakeError(
            "the archived clustering was cut into trials of a behavior file that has changed since",
            file=Path(found.path),
            hint="Put its raw folder back and run `maplake ingest ephys --replace` instead.",
        )
