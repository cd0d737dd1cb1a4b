"""Which tables a lake has: maplake's, and those that the lab declared itself."""

from __future__ import annotations

from pathlib import Path

from maplake.errors import NotFoundError
from maplake.layout import Layout
from maplake.tables import SCHEMAS, TABLES, Table, own

__all__ = ["schemas_of", "table_of", "tables_of"]


def tables_of(root: Path | None) -> dict[str, Table]:
    """Return all tables of the lake at ``root`` by full name; without a root, maplake's alone."""
    return TABLES if root is None else TABLES | own.read(Layout(root).own_tables, SCHEMAS)


def schemas_of(tables: dict[str, Table]) -> tuple[str, ...]:
    """Return the names of the schemas of tables, in order."""
    return tuple(dict.fromkeys(table.schema for table in tables.values()))


def table_of(root: Path | None, name: str) -> Table:
    """Return the declaration of ``schema.table``.

    Raises
    ------
    NotFoundError
        If the lake has no such table; the message names the closest ones.
    """
    tables = tables_of(root)
    if name in tables:
        return tables[name]
    from difflib import get_close_matches

    names = {known.lower(): known for known in tables}
    names |= {table.name.lower(): table.full_name for table in tables.values()}
    close = get_close_matches(name.lower(), names, n=3)
    near = list(dict.fromkeys(names[one] for one in close))
    hint = f"Did you mean {' or '.join(near)}?" if near else "`maplake tables` lists all."
    raise NotFoundError(f"there is no table {name!r}", hint=hint)
