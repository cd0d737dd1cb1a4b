"""Schema ``ingest``: what was left out of the lake, and where everything in it came from."""

from __future__ import annotations

from maplake.tables.model import (
    LABEL,
    LONG,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TO_SESSION,
    Column,
    Store,
    Table,
)

_SOURCE = Column("source", TEXT, "kind of source, with the insertion where there are several")

TABLES = (
    Table(
        "ingest",
        "skipped",
        "what a reader left out of a session that is in the lake, with the reason",
        (
            SUBJECT_ID,
            SESSION,
            _SOURCE,
            Column("item_type", LABEL, "what was left out: trial, unit, file, …"),
            Column("item", TEXT, "which one"),
            Column("reason", TEXT, "why"),
        ),
        key=("subject_id", "session", "source", "item_type", "item"),
        store=Store.SOURCE,
        refs=(TO_SESSION,),
    ),
    Table(
        "ingest",
        "source",
        "every source that was ever looked at, and what became of it",
        (
            Column("kind", TEXT, "behavior, ephys, …"),
            Column("name", TEXT, "name of the source within its kind"),
            Column("status", TEXT, "in, failed, skipped"),
            Column("reason", TEXT, "why it is not in", nullable=True),
            Column("subject_id", LONG, "animal", nullable=True),
            Column("session", LONG, "session", nullable=True),
            Column("insertion_number", LONG, "probe insertion", nullable=True),
            Column("reader", TEXT, "format that was recognised"),
            Column("reader_version", LONG, "version of its reader"),
            Column("fingerprint", TEXT, "hash over its files"),
        ),
        key=("kind", "name"),
        store=Store.VIEW,
    ),
)
