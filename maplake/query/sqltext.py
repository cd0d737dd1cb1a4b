"""Small pieces of SQL: quoted names, literals, types."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from pathlib import Path

from maplake.errors import LakeError
from maplake.tables.model import PARTITION_KEYS, Kind

#: DuckDB's names by Arrow's.
_TYPES = {
    "string": "VARCHAR",
    "label": "VARCHAR",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "bool": "BOOLEAN",
    "date32": "DATE",
    "time64[us]": "TIME",
    "timestamp[us]": "TIMESTAMP",
}


def identifier(name: str) -> str:
    """Return a name quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def full_identifier(name: str) -> str:
    """Return ``schema.table`` with both parts quoted."""
    return ".".join(identifier(part) for part in name.split(".", 1))


def literal(value: object) -> str:
    """Return a Python value as an SQL literal."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{literal(repr(float(value)))}::DOUBLE"  # numpy's own repr names its type
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(literal(item) for item in value)}]"
    if isinstance(value, (date, datetime, time)):
        return literal(value.isoformat())
    return "'" + str(value).replace("'", "''") + "'"


def sql_type(kind: Kind) -> str:
    """Return the DuckDB type of a column's kind."""
    return _TYPES[kind.name] + "[]" * kind.depth


def glob_literal(root: Path, pattern: str) -> str:
    """Return an SQL literal for ``pattern`` below ``root``, whatever characters root has.

    Raises
    ------
    LakeError
        If a folder above the lake looks like a partition (``session=3``): its value would
        silently take the place of the lake's own. If it has a question mark, which DuckDB takes
        for the end of a file's name.
    """
    text = root.resolve().as_posix()
    if "?" in text:
        raise LakeError(
            "DuckDB cannot use a folder with a question mark",
            file=root,
            hint="Move the lake or rename that folder.",
        )
    for part in text.split("/"):
        if part.split("=", 1)[0] in PARTITION_KEYS and "=" in part:
            raise LakeError(
                "a folder above the lake is named like one of the lake's own partitions",
                file=root,
                found=part,
                hint="Move the lake or rename that folder.",
            )
    return literal(f"{glob_escape(text).rstrip('/')}/{pattern}")


def glob_escape(text: str) -> str:
    """Return a path as a glob pattern that matches it alone."""
    return re.sub(r"[\[*?]", lambda match: f"[{match.group()}]", text)
