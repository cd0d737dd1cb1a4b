"""The declarations of all tables, one file per schema.

To add a table, add a :class:`~maplake.tables.model.Table` to the ``TABLES`` of the file of its
schema. Nothing else has to be told about it.
"""

from __future__ import annotations

from collections.abc import Iterator

from maplake.errors import NotFoundError
from maplake.tables import (
    archive,
    ccf,
    computed,
    entered,
    ephys,
    ephys_events,
    experiment,
    experiment_foraging,
    foraging,
    histology,
    ingest,
    lab,
    psth,
    publication,
    tracking,
)
from maplake.tables.model import Column, Ref, Store, Table

__all__ = ["SCHEMAS", "TABLES", "Column", "Ref", "Store", "Table", "get", "stored"]

_FILES = (
    lab,
    experiment,
    experiment_foraging,
    ephys,
    ephys_events,
    entered,
    tracking,
    ccf,
    histology,
    psth,
    foraging,
    computed,
    publication,
    archive,
    ingest,
)

#: All tables by full name, in order of declaration.
TABLES: dict[str, Table] = {t.full_name: t for file in _FILES for t in file.TABLES}

#: Names of the schemas.
SCHEMAS: tuple[str, ...] = tuple(dict.fromkeys(t.schema for t in TABLES.values()))


def get(name: str) -> Table:
    """Return the declaration of ``schema.table``.

    Raises
    ------
    NotFoundError
        If there is no such table; the message names the closest ones.
    """
    if name in TABLES:
        return TABLES[name]
    from difflib import get_close_matches

    near = get_close_matches(name, [*TABLES, *(t.name for t in TABLES.values())], n=3)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`maplake tables` lists all."
    raise NotFoundError(f"there is no table {name!r}", hint=hint)


def stored() -> Iterator[Table]:
    """Iterate over the tables that are kept in files."""
    return (table for table in TABLES.values() if table.store.on_disk)
