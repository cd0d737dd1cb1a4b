"""Loads a sheet into a table that people fill in; loading it again corrects what it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from maplake.config import Config
from maplake.errors import NotFoundError, SpreadsheetError
from maplake.ingest.entered import Changes
from maplake.ingest.lakes import read_global, stage_global, update_catalog, writing
from maplake.ingest.plan import subjects_by_h2o
from maplake.ingest.publish import stage_records
from maplake.ingest.session import IN
from maplake.ingest.state import SourceState, read_state
from maplake.layout import Layout, session_name, table_file
from maplake.readers.table_sheet import read
from maplake.tables import TABLES, Ref, Store, Table, get
from maplake.tables.entered import KIND
from maplake.writers import parquet
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

#: Global tables that ingest alone fills.
_OURS = {"ccf", "histology", "tracking"}


def loadable() -> list[str]:
    """Return the names of the tables that a sheet may be loaded into."""
    return [name for name, table in TABLES.items() if _is_loadable(table)]


def _is_loadable(table: Table) -> bool:
    if table.store is Store.GLOBAL:
        return table.schema not in _OURS
    return table.kind == KIND


def load_table(config: Config, name: str, file: Path, dry_run: bool = False) -> Changes:
    """Load a sheet into a table; rows of the same key are corrected.

    Parameters
    ----------
    config
        Names the lake.
    name
        ``schema.table``, one of :func:`loadable`.
    file
        The sheet; its headers are the table's columns.
    dry_run
        Only say what would change.

    Raises
    ------
    NotFoundError
        If there is no such table, or it is not filled by people.
    SpreadsheetError
        If a cell cannot be used, or a row refers to something that is not in the lake.
    """
    table = get(name)
    if not _is_loadable(table):
        raise NotFoundError(f"{name} is not filled from sheets", expected=", ".join(loadable()))
    layout = Layout(config.lake.root)
    data = read(file, table, subjects_by_h2o(layout))
    _check_refs(layout, table, data, file)
    changes = enter(config, name, data, file, dry_run=dry_run)
    if not dry_run:
        update_catalog(config)
    return changes


def enter(
    config: Config,
    name: str,
    data: pa.Table,
    file: Path,
    *,
    dry_run: bool = False,
    whole: bool = False,
) -> Changes:
    """Put rows into a table that people fill in; rows of the same key are corrected.

    Parameters
    ----------
    config
        Names the lake.
    name
        ``schema.table``.
    data
        Rows with all stored columns.
    file
        Where they are from.
    dry_run
        Only say what would change.
    whole
        The rows are all of their partition: others go.
    """
    table, layout = get(name), Layout(config.lake.root)
    changes = Changes()
    before = 0
    for partition, rows in _parts(table, data):
        old = _old(layout, table, partition)
        before += old.num_rows if old is not None else 0
        _note(changes, table, partition, old, rows)
    some_go = whole and before > changes.unchanged + changes.changed
    if dry_run or not (changes.added or changes.changed or some_go):
        return changes
    with writing(config) as layout, staging_run(config.lake.root) as run:
        if table.store is Store.GLOBAL:
            stage = Stage(layout, run)
            stage_global(stage, layout, [(name, data)], replace=True)
            commit(layout, [stage.finish()], {"command": "load", "table": name, "file": str(file)})
        else:
            for partition, rows in _parts(table, data):
                _commit(layout, run, table, partition, rows, file, whole=whole)
    return changes


def _parts(table: Table, data: pa.Table) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """Yield the rows of each partition, without the columns that the folders carry."""
    if not table.partition:
        yield {}, data
        return
    names = list(table.partition)
    for key in (
        data.group_by(names).aggregate([]).sort_by([(n, "ascending") for n in names]).to_pylist()
    ):
        mask = pa.array(
            [all(row[n] == key[n] for n in names) for row in data.select(names).to_pylist()]
        )
        yield key, data.filter(mask).drop_columns(names)


def _old(layout: Layout, table: Table, partition: Mapping[str, Any]) -> pa.Table | None:
    if not partition:
        return read_global(layout, table)
    path = layout.root / table_file(table, partition)
    return pq.ParquetFile(path).read() if path.exists() else None


def _note(
    changes: Changes,
    table: Table,
    partition: Mapping[str, Any],
    old: pa.Table | None,
    new: pa.Table,
) -> None:
    keys = [name for name in table.key if name not in partition]
    known = {tuple(r[k] for k in keys): r for r in old.to_pylist()} if old is not None else {}
    for row in new.select(table.file_schema.names).to_pylist():
        key = tuple(row[k] for k in keys)
        what = ", ".join(map(str, [*partition.values(), *key]))
        changes.note(f"{table.full_name} {what}", known.get(key), row)


def _commit(
    layout: Layout,
    run: str,
    table: Table,
    partition: Mapping[str, Any],
    rows: pa.Table,
    file: Path,
    *,
    whole: bool,
) -> None:
    name = session_name(partition["subject_id"], partition["session"])
    number = partition.get("insertion_number")
    old = None if whole else _old(layout, table, partition)
    merged = _merge(table, partition, old, rows)
    stage = Stage(layout, run)
    count = stage.table(table, partition, merged)
    state = SourceState(
        KIND,
        f"{table.full_name} {number}" if number else table.full_name,
        IN,
        None,
        partition["subject_id"],
        partition["session"],
        number,
        reader="table_sheet",
        reader_version=1,
        outputs=[str(table_file(table, partition))],
        rows={table.full_name: count},
        path=str(file),
        time=datetime.now().isoformat(timespec="seconds"),
    )
    states = read_state(layout, name) | {state.key: state}
    staged = stage.finish()
    extra = Stage(layout, run)
    stage_records(extra, layout, name, states, staged)
    note = {"command": "load", "table": table.full_name, "file": str(file)}
    commit(layout, [staged, extra.finish()], note)


def _merge(
    table: Table, partition: Mapping[str, Any], old: pa.Table | None, new: pa.Table
) -> pa.Table:
    schema = table.file_schema
    new = new.select(schema.names).cast(schema)
    keys = [name for name in table.key if name not in partition]
    if old is None:
        return new
    plain = {tuple(row[k] for k in keys): row for row in old.select(schema.names).to_pylist()}
    plain |= {tuple(row[k] for k in keys): row for row in new.to_pylist()}
    return parquet.conform(table, pa.Table.from_pylist(list(plain.values()), schema=schema))


def _check_refs(layout: Layout, table: Table, data: pa.Table, file: Path) -> None:
    """Refuse rows that refer to what is not in the lake."""
    rows = data.to_pylist()
    for ref in table.refs:
        known = _known(layout, ref, rows)
        for number, row in enumerate(rows, start=2):
            value = tuple(row[name] for name in ref.columns)
            if None not in value and value not in known:
                raise SpreadsheetError(
                    f"refers to no row of {ref.table}",
                    file=file,
                    place=f"row {number}",
                    found=", ".join(f"{n} {v}" for n, v in zip(ref.columns, value, strict=True)),
                    hint=f"Enter it in {ref.table} first, or correct the row.",
                )


def _known(layout: Layout, ref: Ref, rows: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    target = get(ref.table)
    if target.store is Store.LOOKUP:
        place = [c.name for c in target.columns]
        return {tuple(row[place.index(n)] for n in ref.targets) for row in target.rows}
    known: set[tuple[Any, ...]] = set()
    partitions = [{}] if not target.partition else _partitions(ref, target, rows)
    for partition in partitions:
        found = _old(layout, target, partition)
        for row in found.to_pylist() if found is not None else []:
            known.add(tuple({**partition, **row}[name] for name in ref.targets))
    return known


def _partitions(ref: Ref, target: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    names = dict(zip(ref.targets, ref.columns, strict=True))
    keys = {tuple(row[names[n]] for n in target.partition) for row in rows}
    return [dict(zip(target.partition, key, strict=True)) for key in keys]
