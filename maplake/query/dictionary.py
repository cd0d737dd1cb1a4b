"""The data dictionary: every table and column in Markdown.

``python -m maplake.query.dictionary docs/tables.md`` writes the page of the documentation.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from maplake.query.sqltext import sql_type
from maplake.tables import SCHEMAS, TABLES, Column, Ref, Table

_HEAD = """\
# Tables

Generated from the declarations in `maplake/tables` by
`python -m maplake.query.dictionary docs/tables.md`.
Columns in **bold** are the primary key. The same comments are in `lake.duckdb`.
"""


def markdown() -> str:
    """Return the data dictionary as one Markdown page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield _HEAD
    for schema in SCHEMAS:
        tables = [t for t in TABLES.values() if t.schema == schema]
        yield f"## {schema}\n"
        for table in tables:
            yield from _table(table)


def _table(table: Table) -> Iterator[str]:
    yield f"### {table.full_name}\n"
    yield f"{_text(table.comment)}. Kept as: {table.store.value}.\n"
    yield "| column | type | unit | meaning |"
    yield "| --- | --- | --- | --- |"
    yield from (_row(table, column) for column in table.all_columns)
    yield ""
    for group in table.unique:
        yield f"- unique: {', '.join(group)}"
    yield from (_reference(ref) for ref in table.refs)
    if table.unique or table.refs:
        yield ""


def _row(table: Table, column: Column) -> str:
    name = f"**{column.name}**" if column.name in table.key else column.name
    kind = sql_type(column.kind) + (", null" if column.nullable else "")
    values = f": {', '.join(column.values)}" if column.values else ""
    return f"| {name} | {kind} | {_text(column.unit)} | {_text(column.comment + values)} |"


def _reference(ref: Ref) -> str:
    to = f" ({', '.join(ref.to)})" if ref.to else ""
    return f"- {', '.join(ref.columns)} → {ref.table}{to}"


def _text(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> None:
    """Write the page to the file named by the first argument."""
    Path(arguments[0]).write_text(markdown(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
