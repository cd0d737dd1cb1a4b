"""Creating a lake, opening it for writing, and keeping its catalog current."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from maplake.config import Config
from maplake.config.model import place_of
from maplake.errors import ConfigError, IntegrityError, LakeReadOnlyError, LakeVersionError
from maplake.ingest.state import read_manifest
from maplake.layout import (
    FORMAT_VERSION,
    LAKE_NAME,
    PART,
    READABLE_SINCE,
    Layout,
    manifest_file,
    table_file,
)
from maplake.query import catalog
from maplake.tables import Store, Table, get, stored
from maplake.writers import files
from maplake.writers.commit import Stage, commit, recover
from maplake.writers.lock import staging_run, write_lock
from maplake.writers.staged import Staged

if TYPE_CHECKING:
    import pyarrow as pa


def init(config: Config) -> Path:
    """Create the lake that a configuration names, or bring its catalog up to date.

    Returns
    -------
    The lake's folder.
    """
    layout = Layout(config.lake.root)
    with writing(config):
        pass
    update_catalog(config)
    return layout.root


@contextmanager
def writing(config: Config) -> Iterator[Layout]:
    """Hold the write lock of a lake that exists, is of a known version and has no loose ends.

    Raises
    ------
    LakeLockedError, LakeReadOnlyError, LakeVersionError
        If the lake cannot be written to.
    """
    layout = Layout(config.lake.root)
    check_version(layout, FORMAT_VERSION)
    root = config.lake.root
    if layout.snapshot_mark.exists():
        raise LakeReadOnlyError(
            "a snapshot cannot be written to",
            file=root,
            hint="`maplake export-snapshot` makes a lake of its own of it.",
        )
    with write_lock(root, config.lake.lock_timeout_s), files.lake_faults(root):
        check_version(layout, FORMAT_VERSION)
        recover(layout)
        _complete(layout)
        yield layout


def read_version(layout: Layout) -> int | None:
    """Return the version of a lake's layout; None where there is no lake yet.

    Raises
    ------
    IntegrityError
        If it cannot be read.
    """
    try:
        return int(json.loads(layout.format_file.read_bytes())["format_version"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise IntegrityError(
            "the lake's version cannot be read",
            file=layout.format_file,
            found=str(error),
            hint=f'Write {{"format_version": {FORMAT_VERSION}}} into it.',
        ) from error


def check_version(layout: Layout, oldest: int = READABLE_SINCE) -> None:
    """Refuse a lake of a newer layout, and one of an older layout than ``oldest``.

    Raises
    ------
    LakeVersionError
        If the lake's version is larger than this library's, or too old.
    IntegrityError
        If it cannot be read.
    """
    version = read_version(layout)
    if version is None or oldest <= version <= FORMAT_VERSION:
        return
    newer = version > FORMAT_VERSION
    raise LakeVersionError(
        f"the lake was written by {'a newer' if newer else 'an older'} maplake",
        file=layout.root,
        found=f"format {version}",
        expected=f"format {FORMAT_VERSION}" + (" or older" if newer else ""),
        hint="Update maplake: pip install --upgrade maplake."
        if newer
        else "`maplake upgrade` brings it up to date, in one commit and in place.",
    )


def _complete(layout: Layout) -> None:
    """Write what every lake has and this one lacks: first rows of global tables, the version.

    A lake lacks all of it when it is new, and tables that came with a newer maplake later.
    """
    known = read_manifest(layout, LAKE_NAME)
    new = [
        table
        for table in stored()
        if table.store is Store.GLOBAL and table.rows and str(table_file(table, {})) not in known
    ]
    if new:
        first = [(table.full_name, _first_rows(table)) for table in new]
        with staging_run(layout.root) as run:
            stage = Stage(layout, run)
            stage_global(stage, layout, first, replace=False)
            if not known:  # what came before is in no merged file: `maplake compact` sees to it
                merged = sorted(table.full_name for table in stored() if table.merged)
                place = layout.compact_list.relative_to(layout.root).as_posix()
                stage.json(PurePosixPath(place), {"tables": merged})
            commit(layout, [stage.finish()], {"command": "init"})
    if not layout.format_file.exists():
        files.write_json(layout.format_file, {"format_version": FORMAT_VERSION})


def _first_rows(table: Table) -> pa.Table:
    import pyarrow as pa

    schema = table.file_schema
    rows = [dict(zip(schema.names, row, strict=True)) for row in table.rows]
    return pa.Table.from_pylist(rows, schema=schema)


def stage_global(
    stage: Stage, layout: Layout, rows: list[tuple[str, pa.Table]], *, replace: bool
) -> int:
    """Stage the global tables that new rows change, and the lake's manifest.

    Parameters
    ----------
    stage
        Where to.
    layout
        The lake.
    rows
        New rows by table; the same table may come several times.
    replace
        Whether a new row replaces an old one of the same key.

    Returns
    -------
    Number of tables that changed.
    """
    known = read_manifest(layout, LAKE_NAME)
    changed = 0
    for table, merged in changed_globals(layout, rows, replace=replace):
        _check_whole(layout, table, known)
        stage.table(table, {}, merged)
        changed += 1
    if changed:
        new = {path: e for path, e in stage.staged.manifest.items() if _is_global(path)}
        stage.json(manifest_file(LAKE_NAME), {"files": known | new})
    return changed


def changed_globals(
    layout: Layout, rows: list[tuple[str, pa.Table]], *, replace: bool
) -> Iterator[tuple[Table, pa.Table]]:
    """Yield the global tables that new rows change, as they will be; see :func:`stage_global`."""
    import pyarrow as pa

    from maplake.writers import parquet

    by_table: dict[str, list[pa.Table]] = {}
    for name, data in rows:
        schema = get(name).file_schema
        by_table.setdefault(name, []).append(data.select(schema.names).cast(schema))
    for name, parts in sorted(by_table.items()):
        table = get(name)
        old = read_global(layout, table)
        new = pa.concat_tables(parts)
        pair = (old, new) if replace or old is None else (new, old)
        merged = parquet.merge(table, *pair)
        if old is None or not merged.equals(parquet.conform(table, old)):
            yield table, merged


def _is_global(path: str) -> bool:
    return path.startswith("tables/") and "=" not in path


def _check_whole(layout: Layout, table: Table, known: Mapping[str, Any]) -> None:
    """Refuse to build upon a global table that is not what was written."""
    path = str(table_file(table, {}))
    if path not in known:
        return
    with (layout.root / path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != known[path]["sha256"]:
        raise _damaged(layout.root / path, "its content is not what was written")


def _damaged(path: Path, found: str) -> IntegrityError:
    return IntegrityError(
        "a table of the whole lake is damaged",
        file=path,
        found=found,
        hint="`maplake rebuild --spare` puts its second copy in its place.",
    )


def read_global(layout: Layout, table: Table) -> pa.Table | None:
    """Return the rows of a global table, or None if it has no file yet.

    Raises
    ------
    IntegrityError
        If its file cannot be read, or has gone.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = layout.root / table_file(table, {})
    try:
        return pq.ParquetFile(path).read()
    except FileNotFoundError:
        if str(table_file(table, {})) in read_manifest(layout, LAKE_NAME):
            raise _damaged(path, "no file") from None
        return None
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from error


def catalog_options(config: Config) -> Mapping[str, Any]:
    """Return the lab's own conditions and alignments for the catalog."""
    return {
        "conditions": {name: asdict(c) for name, c in config.conditions.items()},
        "align_types": {row[0]: row[1:] for row in config.align_rows},
    }


def update_catalog(config: Config, *, force: bool = False) -> bool:
    """Rebuild ``lake.duckdb`` if tables, conditions or the lake's place changed.

    Returns
    -------
    Whether it was rebuilt.

    Raises
    ------
    ConfigError
        If a condition or alignment of ``lake.toml`` is wrong; it names file and line.
    """
    options = catalog_options(config)
    root = config.lake.root
    last = _last_commit(root)
    if not force and catalog.is_current(root, **options):
        # So that no reader has to find out that the last commit did not concern it.
        files.date(Layout(root).catalog, last)
        return False
    # Under the lock, so that no slower writer puts back a catalog that lacks a new table.
    with write_lock(root, config.lake.lock_timeout_s), files.lake_faults(root):
        if not force and catalog.is_current(root, **options):
            return False
        _build_catalog(config)
    return True


def _build_catalog(config: Config) -> None:
    try:
        catalog.build(config.lake.root, **catalog_options(config))
    except ConfigError as error:
        raise _in_settings(config, error) from error


def _in_settings(config: Config, error: ConfigError) -> ConfigError:
    """Return an error of a condition or alignment with its place in ``lake.toml``."""
    named = {f"condition {name!r}": ("conditions", name) for name in config.conditions}
    named |= {f"align type {name!r}": ("align_types", name) for name in config.align_types}
    key = named.get(error.place or "")
    if key is None:  # one that lies in the lake
        return error
    return ConfigError(
        error.message,
        file=config.file,
        place=place_of(key, config.lines),
        found=error.found,
        expected=error.expected,
        hint=error.hint,
    )


def _last_commit(root: Path) -> int:
    """Return the time (ns) of the last commit that was carried out; 0 before the first."""
    try:
        return Layout(root).log.stat().st_mtime_ns
    except OSError:
        return 0


@contextmanager
def catalog_kept(config: Config, parts: Iterable[Staged]) -> Iterator[None]:
    """Commit in the block; if it adds a table's first file, the catalog follows before readers.

    maplake's readers wait while anything is in the journal folder, so the commit and the views
    of its tables appear to them as one. The caller holds the write lock.
    """
    layout = Layout(config.lake.root)
    targets = {"/".join(path.split("/")[:3]) for part in parts for path in part.writes}
    if all(next((layout.root / t).rglob(PART), None) for t in targets if t.startswith("tables/")):
        yield
        return
    mark = layout.journal / "catalog"
    files.make_dir(layout.journal)
    files.write_bytes(mark, b"")
    try:
        yield
        with files.lake_faults(layout.root):
            _build_catalog(config)
    finally:
        files.remove(mark)
