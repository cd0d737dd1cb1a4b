"""Tables that a lab declares itself: as data, so that a lake says on its own which it has.

The declarations lie in the lake, in ``.maplake/tables.json``; whoever opens the lake sees the
tables without the code that fills them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from maplake.errors import IntegrityError, SchemaError
from maplake.tables.model import (
    BOOL,
    DATE,
    INT,
    LABEL,
    LONG,
    REAL,
    REALS,
    TEXT,
    TEXTS,
    TIME,
    TIMESTAMP,
    Column,
    Kind,
    Ref,
    Store,
    Table,
)

__all__ = ["KIND", "as_dict", "check_own", "from_dict", "read"]

#: Kind of every table that is computed from others.
KIND = "computed"

_TYPES = {
    "text": TEXT,
    "label": LABEL,
    "int": INT,
    "long": LONG,
    "real": REAL,
    "bool": BOOL,
    "date": DATE,
    "time": TIME,
    "timestamp": TIMESTAMP,
    "reals": REALS,
    "texts": TEXTS,
}
_STORES = (Store.SESSION, Store.INSERTION, Store.GLOBAL)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED = {"main", "temp", "system", "information_schema", "pg_catalog", "memory", "lake"}


def check_own(table: Table, schemas: Iterable[str]) -> None:
    """Refuse a declaration that a lake cannot hold.

    Parameters
    ----------
    table
        A lab's own table.
    schemas
        Names of maplake's own schemas, which a lab leaves alone.

    Raises
    ------
    SchemaError
        If a name is no plain name or taken, or a type or a way of storing is not supported.
    """
    for name in (table.schema, table.name, *(column.name for column in table.columns)):
        if not _NAME.fullmatch(name):
            raise SchemaError(
                f"{name!r} cannot be a name in {table.full_name}",
                expected="a small letter, then small letters, digits and _, at most 63",
            )
    if table.schema in {*schemas, *_RESERVED}:
        raise SchemaError(
            f"the schema {table.schema!r} of {table.full_name} is taken",
            hint="Use a schema of your own, as in mylab.unit_rate.",
        )
    if table.store not in _STORES or table.computed:
        raise SchemaError(f"{table.full_name} must be kept by session, by insertion or as a whole")
    for column in table.columns:
        _type_name(column.kind, f"{table.full_name}.{column.name}")


def _type_name(kind: Kind, place: str) -> str:
    for name, known in _TYPES.items():
        if known == kind:
            return name
    raise SchemaError(
        f"{place} has a type that is not supported",
        found=kind,
        expected=", ".join(name.upper() for name in _TYPES),
    )


def as_dict(table: Table) -> dict[str, Any]:
    """Return a declaration as plain data."""
    return {
        "schema": table.schema,
        "name": table.name,
        "comment": table.comment,
        "store": table.store.name,
        "key": list(table.key),
        "order": list(table.order),
        "unique": [list(group) for group in table.unique],
        "refs": [[list(r.columns), r.table, list(r.to)] for r in table.refs],
        "columns": [
            {
                "name": c.name,
                "type": _type_name(c.kind, f"{table.full_name}.{c.name}"),
                "comment": c.comment,
                "unit": c.unit,
                "nullable": c.nullable,
                "values": list(c.values),
            }
            for c in table.columns
        ],
    }


def from_dict(data: Mapping[str, Any]) -> Table:
    """Return the declaration that :func:`as_dict` made data of."""
    columns = tuple(
        Column(
            c["name"],
            _TYPES[c["type"]],
            c["comment"],
            c["unit"],
            bool(c["nullable"]),
            tuple(c["values"]),
        )
        for c in data["columns"]
    )
    return Table(
        data["schema"],
        data["name"],
        data["comment"],
        columns,
        key=tuple(data["key"]),
        store=Store[data["store"]],
        refs=tuple(Ref(tuple(a), b, tuple(c)) for a, b, c in data["refs"]),
        unique=tuple(tuple(group) for group in data["unique"]),
        kind=KIND,
        order=tuple(data["order"]),
    )


def read(file: Path, schemas: Iterable[str]) -> dict[str, Table]:
    """Return the lab's own tables of a lake by full name; none without the file.

    Raises
    ------
    IntegrityError
        If the file is damaged.
    """
    try:
        found = [from_dict(item) for item in json.loads(file.read_bytes())["tables"]]
        for table in found:
            check_own(table, schemas)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(
            "the lake's list of the lab's own tables is damaged",
            file=file,
            found=str(error),
            hint="Remove the file and run `maplake compute`.",
        ) from error
    return {table.full_name: table for table in found}
