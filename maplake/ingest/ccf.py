"""The Common Coordinate Framework: loaded once, and again when its files change."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.lakes import stage_global, writing
from maplake.ingest.publish import stage_records
from maplake.ingest.report import SourceReport
from maplake.ingest.session import FAILED, IN, PLANNED, UNCHANGED
from maplake.ingest.sources import CCF, reading
from maplake.ingest.state import SourceState, hash_file, read_state, stat_files
from maplake.layout import LAKE_NAME, Layout, ccf_store, table_file
from maplake.tables import get
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

if TYPE_CHECKING:
    import pyarrow as pa

KIND = CCF
_RUNS = "ccf.annotation_run"


def of_config(config: Config, *, again: bool = False, dry_run: bool = False) -> list[SourceReport]:
    """Load the annotation that lake.toml names, unless it is in the lake as it is.

    ``again`` loads it in any case; a ``dry_run`` only says that it would be.
    """
    if config.ccf.annotation is None:
        return []
    name = config.ccf.version_name
    report = SourceReport(KIND, name, UNCHANGED, path=str(config.ccf.annotation))
    settings = f"{config.ccf.resolution_um} um"
    known = None if again else read_state(Layout(config.lake.root), LAKE_NAME).get((KIND, name))
    try:
        with reading(config.ccf.annotation, KIND):
            stat = stat_files(_files(config))
        if known and known.status == IN and (known.stat, known.settings) == (stat, settings):
            return [report]
        with reading(config.ccf.annotation, KIND):
            hashes = {str(path): hash_file(path) for path in _files(config)}
        if known and known.status == IN and (known.files, known.settings) == (hashes, settings):
            return [report]
        if dry_run:
            report.status = PLANNED
            return [report]
        state = SourceState(KIND, name, IN, files=hashes, stat=stat, settings=settings)
        _load(config, state)
        report.status, report.rows = IN, sum(state.rows.values())
    except SourceError as error:
        report.status, report.reason = FAILED, str(error)
    return [report]


def _files(config: Config) -> list[Path]:
    files = config.ccf
    named = (files.annotation, files.region_csv, files.hexcode_csv, files.surface_mesh)
    return [path for path in named if path is not None]


def _load(config: Config, state: SourceState) -> None:
    from maplake.readers.ccf_annotation import open_volume
    from maplake.writers.ccf import write_volume

    settings = config.ccf
    if settings.annotation is None:
        return
    partition = {"annotation_version": settings.version_name}
    target = ccf_store(settings.version_name, settings.resolution_um)
    with staging_run(config.lake.root) as run:
        stage = Stage(Layout(config.lake.root), run)
        try:
            volume = open_volume(settings.annotation)
            runs = write_volume(
                stage.array(target), volume, settings.resolution_um, settings.version_name
            )
            # Written in the order in which the lake keeps it.
            state.rows[_RUNS] = stage.table(get(_RUNS), partition, runs, is_sorted=True)
            lookups = _lookups(config)
        except BaseException:
            stage.abandon()
            raise
        state.outputs = [str(target), str(table_file(get(_RUNS), partition))]
        state.reader, state.reader_version = "ccf_annotation", 1
        state.path = str(settings.annotation)
        state.time = datetime.now().isoformat(timespec="seconds")
        with writing(config) as layout:
            _commit(layout, run, stage, state, lookups)


def _commit(
    layout: Layout,
    run: str,
    stage: Stage,
    state: SourceState,
    lookups: list[tuple[str, pa.Table]],
) -> None:
    states = read_state(layout, LAKE_NAME)
    old = states[state.key].outputs if state.key in states else []
    stage.staged.deletes += sorted(set(old) - set(stage.staged.writes))
    stage_global(stage, layout, lookups, replace=True)
    staged = stage.finish()
    extra = Stage(layout, run)
    stage_records(extra, layout, LAKE_NAME, states | {state.key: state}, staged, gone=old)
    commit(layout, [staged, extra.finish()], {"command": "ingest", "ccf": state.name})


def _lookups(config: Config) -> list[tuple[str, pa.Table]]:
    from maplake.readers.ccf_tables import read_regions, read_surface

    settings = config.ccf
    version = {
        "annotation_version": settings.version_name,
        "annotation_desc": settings.annotation.name if settings.annotation else None,
        "resolution": settings.resolution_um,
    }
    label = {
        "ccf_label_id": 0,
        "ccf_version": 3,
        "ccf_resolution": settings.resolution_um,
        "ccf_description": "Allen Institute Mouse CCF, Rev. 3, "
        f"{settings.resolution_um:g}uM Resolution",
    }
    rows = [
        ("ccf.annotation_version", _one("ccf.annotation_version", version)),
        ("ccf.ccf_label", _one("ccf.ccf_label", label)),
    ]
    if settings.region_csv:
        regions = read_regions(settings.region_csv, settings.hexcode_csv, settings.version_name)
        rows.append(("ccf.ccf_brain_region", regions))
    if settings.surface_mesh:
        rows.append(("ccf.annotated_brain_surface", read_surface(settings.surface_mesh)))
    return rows


def _one(name: str, row: Mapping[str, object]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist([row], schema=get(name).file_schema)
