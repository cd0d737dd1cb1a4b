"""Small tables once more, merged into a file per animal, from which the views read.

A lake of a thousand sessions has thousands of tiny files per table, and opening them is what
queries wait for. ``tables/`` stays as it is, for every reader of Parquet; a merged copy lies in
``.maplake/compact/``. Each commit writes the merged files of the animals that it changes along,
so views are never behind. A new lake keeps the tables merged whose declaration says so
(``merged``), ``maplake compact`` all small ones.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from maplake.errors import IntegrityError
from maplake.layout import PART, Layout, compact_file, compact_record
from maplake.recordfile import read_files, read_json
from maplake.seal import sealed
from maplake.tables import SCHEMAS, TABLES, Table, own
from maplake.writers import files
from maplake.writers.staged import Staged

__all__ = ["follow", "listed", "merge", "stage_merged", "stage_records"]

#: ``{"rows", "bytes", "sha256"}`` of merged files by path; None of those that go.
Entries = dict[str, dict[str, Any] | None]


def listed(layout: Layout) -> list[Table]:
    """Return the tables that are kept merged, too."""
    try:
        names = read_json(layout.compact_list)["tables"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if not isinstance(names, list):
        return []
    tables = TABLES | own.read(layout.own_tables, SCHEMAS)
    return [tables[name] for name in names if isinstance(name, str) and name in tables]


def follow(layout: Layout, parts: Sequence[Staged]) -> Staged | None:
    """Stage the merged files that change with a commit; None where there are none."""
    tables = {f"tables/{t.schema}/{t.name}/": t for t in listed(layout)}
    changed: dict[tuple[str, str], dict[str, Path | None]] = {}
    for part in parts:
        for path in _files(layout, part.deletes):
            _note(tables, changed, path, None)
        for path in part.writes:
            _note(tables, changed, path, layout.staging / part.name / path)
    if not changed:
        return None
    staged = Staged(f"{parts[0].name.split('.')[0]}.{uuid.uuid4().hex[:8]}")
    files.make_dir(layout.staging / staged.name)
    entries: Entries = {}
    for (prefix, subject), news in sorted(changed.items()):
        table = tables[prefix]
        rows = _with(table, layout, subject, news)
        stage_merged(layout, staged, table, subject, rows, entries)
    stage_records(layout, staged, entries)
    return staged


def _files(layout: Layout, targets: Iterable[str]) -> Iterable[str]:
    for target in targets:
        if target.endswith(f"/{PART}"):
            yield target
        elif target.startswith("tables/"):
            for file in (layout.root / target).rglob(PART):
                yield file.relative_to(layout.root).as_posix()


def _note(
    tables: dict[str, Table],
    changed: dict[tuple[str, str], dict[str, Path | None]],
    path: str,
    source: Path | None,
) -> None:
    prefix = "/".join(path.split("/")[:3]) + "/"
    if prefix in tables and path.endswith(f"/{PART}"):
        changed.setdefault((prefix, _levels(path)["subject_id"]), {})[path] = source


def _levels(path: str) -> dict[str, str]:
    parts = (part.split("=", 1) for part in path.split("/") if "=" in part)
    return {name: unquote(value) for name, value in parts}


def _with(table: Table, layout: Layout, subject: str, news: dict[str, Path | None]) -> pa.Table:
    """Return an animal's rows as they are after a commit."""
    try:
        old = pq.ParquetFile(layout.root / compact_file(table, subject)).read()
        old = old.select(_schema(table).names).cast(_schema(table))
    except (OSError, KeyError, ValueError, pa.ArrowException):  # none yet, or damaged
        there = {path: layout.root / path for path in _present(layout, table, subject)}
        return merge(table, {**there, **news})
    for path in news:
        same = None
        for name, value in _values(table, path).items():
            one = pc.equal(old[name], value)
            same = one if same is None else pc.and_(same, one)
        if same is not None:
            old = old.filter(pc.invert(same))
    return _sorted(table, pa.concat_tables([old, merge(table, news)]))


def _present(layout: Layout, table: Table, subject: str) -> list[str]:
    folder = layout.table_dir(table) / f"subject_id={subject}"
    return sorted(p.relative_to(layout.root).as_posix() for p in folder.rglob(PART))


def merge(table: Table, sources: dict[str, Path | None]) -> pa.Table:
    """Return the rows of partitions of one animal, with the columns that their folders carry.

    Parameters
    ----------
    table
        The declaration.
    sources
        File to read by the partition's path; None = no rows.

    Raises
    ------
    IntegrityError
        If a file is damaged.
    """
    schema = _schema(table)
    found = [schema.empty_table()]
    for path, source in sorted(sources.items()):
        if source is None:
            continue
        try:
            data = pq.ParquetFile(source).read()
        except (OSError, pa.ArrowException) as error:
            raise IntegrityError(
                "a file of a table cannot be read, to be merged with those of its animal",
                file=source,
                found=str(error),
                hint="`maplake check --deep` says what repairs it; where several are damaged, run "
                "`maplake compact --undo` first.",
            ) from error
        for name, value in _values(table, path).items():
            column = pa.array([value] * data.num_rows, schema.field(name).type)
            data = data.append_column(name, column)
        found.append(data.select(schema.names).cast(schema))
    return _sorted(table, pa.concat_tables(found))


def _schema(table: Table) -> pa.Schema:
    """Return the columns of a merged file: all but the animal; words as plain text."""
    fields = [column.field for column in table.columns if column.name != "subject_id"]
    return pa.schema(
        [
            field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field
            for field in fields
        ]
    )


def _values(table: Table, path: str) -> dict[str, Any]:
    schema, levels = _schema(table), _levels(path)
    return {
        name: int(levels[name]) if pa.types.is_integer(schema.field(name).type) else levels[name]
        for name in table.partition
        if name != "subject_id"
    }


def _sorted(table: Table, data: pa.Table) -> pa.Table:
    """Order rows by their partitions; within each they keep their order."""
    names = [name for name in table.partition if name != "subject_id"]
    order = pc.sort_indices(data, sort_keys=[(name, "ascending") for name in names])
    return data.take(order).combine_chunks()


def stage_merged(
    layout: Layout, staged: Staged, table: Table, subject: str, rows: pa.Table, entries: Entries
) -> bool:
    """Stage the merged file of an animal; return whether it is another one than there is.

    What :func:`stage_records` is to take down of it is added to ``entries``.
    """
    target = compact_file(table, subject)
    if not rows.num_rows:
        entries[str(target)] = None
        if (layout.root / target).exists():
            staged.deletes.append(str(target))
        return (layout.root / target).exists()
    place = layout.staging / staged.name / target
    files.make_dir(place.parent)
    pq.write_table(
        rows, place, compression="zstd", row_group_size=table.row_group, write_page_index=True
    )
    content = place.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    entries[str(target)] = {
        "rows": rows.num_rows,
        "bytes": len(content),
        "sha256": digest,
    }
    with suppress(FileNotFoundError):
        if (layout.root / target).read_bytes() == content:
            files.remove(place)
            return False
    files.sync_file(place)
    staged.writes.append(str(target))
    return True


def stage_records(layout: Layout, staged: Staged, entries: Entries) -> bool:
    """Stage what is recorded of the merged files of animals; return whether that is new.

    ``maplake check --deep`` holds the files against it: a flipped bit in the statistics of a file
    changes what a query finds, but none of the rows.
    """
    of_animal: dict[str, Entries] = {}
    for path, entry in entries.items():
        of_animal.setdefault(_levels(path)["subject_id"], {})[path] = entry
    is_new = False
    for subject, mine in sorted(of_animal.items()):
        target = compact_record(subject)
        try:
            old = read_files(layout.root / target)
        except (OSError, ValueError):  # none yet, or damaged
            old = {}
        known = {path: entry for path, entry in {**old, **mine}.items() if entry is not None}
        content = files.json_bytes(sealed({"files": known}))
        with suppress(FileNotFoundError):
            if (layout.root / target).read_bytes() == content:
                continue
        place = layout.staging / staged.name / target
        files.make_dir(place.parent)
        files.write_bytes(place, content)
        staged.writes.append(str(target))
        is_new = True
    return is_new


def targets(layout: Layout) -> list[PurePosixPath]:
    """Return every merged file that there is, and what is recorded of them."""
    records = (layout.meta / "compact").glob("manifest/*.json")
    found = [*merged_files(layout), *(p.relative_to(layout.root).as_posix() for p in records)]
    return [PurePosixPath(path) for path in found]


def merged_files(layout: Layout) -> list[str]:
    """Return every merged file that there is, as paths below the lake's root."""
    found = (layout.meta / "compact").rglob(PART)
    return sorted(p.relative_to(layout.root).as_posix() for p in found)
