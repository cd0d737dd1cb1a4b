"""What is in a lake, for people: tables with row counts, sessions, notebook pages."""

from __future__ import annotations

from html import escape
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from maplake.errors import IntegrityError
from maplake.layout import RECORDS, Layout
from maplake.query.known import tables_of
from maplake.recordfile import read_files
from maplake.tables import Store, Table

if TYPE_CHECKING:
    import polars as pl


def manifest_files(root: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the files of every manifest: ``{manifest: {path: {rows, bytes, sha256}}}``.

    Raises
    ------
    IntegrityError
        If a manifest is damaged.
    """
    found = {}
    for path in sorted((Layout(root).meta / "manifest").glob(RECORDS)):
        try:
            found[path.stem] = read_files(path)
        except (OSError, ValueError) as error:
            raise IntegrityError("a manifest of the lake is damaged", file=path) from error
    return found


def overview(root: Path) -> pl.DataFrame:
    """Return table, rows (null for views) and comment of every table.

    Rows are those of the manifests, so that no table has to be read.
    """
    import polars as pl

    tables = tables_of(root)
    rows = dict.fromkeys(tables, 0)
    for files in manifest_files(root).values():
        for path, entry in files.items():
            name = table_name(path)
            if name in rows:
                rows[name] += entry["rows"]
    counts = [_rows(table, rows[name]) for name, table in tables.items()]
    return pl.DataFrame(
        {"table": list(tables), "rows": counts, "comment": [t.comment for t in tables.values()]},
        schema_overrides={"rows": pl.Int64},
    )


def _rows(table: Table, stored: int) -> int | None:
    if table.store is Store.LOOKUP:
        return len(table.rows)
    return stored if table.store.on_disk else None


def table_name(path: str) -> str | None:
    """Return the table that a file of a manifest belongs to, if any."""
    parts = PurePosixPath(path).parts
    return f"{parts[1]}.{parts[2]}" if len(parts) > 3 and parts[0] == "tables" else None


def as_text(root: Path, sessions: pl.DataFrame) -> str:
    """Return a few lines on a lake."""
    animals = sessions["subject_id"].n_unique()
    return (
        f"<maplake at {root}: {len(sessions)} sessions of {animals} animals, "
        f"{sessions['probes'].sum()} probe insertions, {sessions['units'].sum():,} units>\n"
        "lake.sessions(), lake.tables(), lake.table('ephys.unit'), "
        "lake.sql('FROM psth.unit_psth'), lake.psth(subject_id, session)"
    )


def as_html(root: Path, sessions: pl.DataFrame) -> str:
    """Return the same with the list of sessions, for notebooks."""
    text = "<br>".join(escape(line) for line in as_text(root, sessions).splitlines())
    return f"<div>{text}{sessions._repr_html_()}</div>"
