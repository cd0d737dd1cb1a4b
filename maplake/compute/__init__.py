"""Tables that are computed from other tables of the lake, and how a lab adds its own.

See docs/own-tables.md.
"""

from __future__ import annotations

from maplake.compute.model import Computation, sql_table, table
from maplake.tables.ephys import METHOD, TO_UNIT, UNIT, UNIT_KEY
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
    TRIAL,
    Column,
    Ref,
)

__all__ = [
    "BOOL",
    "DATE",
    "INT",
    "LABEL",
    "LONG",
    "METHOD",
    "REAL",
    "REALS",
    "TEXT",
    "TEXTS",
    "TIME",
    "TIMESTAMP",
    "TO_UNIT",
    "TRIAL",
    "UNIT",
    "UNIT_KEY",
    "Column",
    "Computation",
    "Ref",
    "sql_table",
    "table",
]
