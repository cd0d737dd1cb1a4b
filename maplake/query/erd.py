"""The entity-relationship diagram of the lake, as Mermaid text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from maplake.errors import NotFoundError
from maplake.query.known import schemas_of, tables_of
from maplake.query.sqltext import sql_type
from maplake.tables import Ref, Table
from maplake.tables.model import Kind


def mermaid(schemas: Sequence[str] | None = None, root: Path | None = None) -> str:
    """Return a Mermaid ``erDiagram`` of all tables, or of some schemas and what they refer to.

    With the ``root`` of a lake, the lab's own tables are in it.

    Raises
    ------
    NotFoundError
        If there is no such schema.
    """
    tables = tables_of(root)
    known = schemas_of(tables)
    for name in schemas or ():
        if name not in known:
            raise NotFoundError(f"there is no schema {name!r}", expected=", ".join(known))
    chosen = [t for t in tables.values() if not schemas or t.schema in schemas]
    lines = ["erDiagram"]
    for table in chosen:
        lines += _entity(table)
    lines += [_relation(table, ref) for table in chosen for ref in table.refs]
    return "\n".join(lines) + "\n"


def _name(full_name: str) -> str:
    return full_name.replace(".", "_")


def _entity(table: Table) -> Iterator[str]:
    foreign = {name for ref in table.refs for name in ref.columns}
    yield f'    {_name(table.full_name)}["{table.full_name}"] {{'
    for column in table.all_columns:
        marks = [
            m for m, on in (("PK", column.name in table.key), ("FK", column.name in foreign)) if on
        ]
        text = column.comment.replace('"', "'") + (f" ({column.unit})" if column.unit else "")
        parts = [_type(column.kind), column.name, ", ".join(marks), f'"{text}"']
        yield "        " + " ".join(part for part in parts if part)
    yield "    }"


def _type(kind: Kind) -> str:
    return sql_type(kind).lower().replace("[]", "_list")


def _relation(table: Table, ref: Ref) -> str:
    optional = any(table.column(name).nullable for name in ref.columns)
    whole_key = bool(table.key) and set(table.key) == set(ref.columns)
    left = "|o" if optional else "||"
    right = "o|" if whole_key else "o{"
    return f'    {_name(ref.table)} {left}--{right} {_name(table.full_name)} : "{_label(ref)}"'


def _label(ref: Ref) -> str:
    return ", ".join(ref.columns)
