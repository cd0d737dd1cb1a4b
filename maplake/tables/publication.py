"""Schema ``publication``: the raw files behind each session, and where copies of them are."""

from __future__ import annotations

from maplake.tables.entered import KIND
from maplake.tables.model import (
    INT,
    LABEL,
    LONG,
    SESSION,
    SUBJECT_ID,
    TEXT,
    TIMESTAMP,
    TO_SESSION,
    Column,
    Table,
)

#: What a raw file is.
RAW_FILE_TYPES = (
    "behavior",
    "ephys ap",
    "ephys ap meta",
    "ephys lf",
    "ephys lf meta",
    "nidq",
    "nidq meta",
    "bitcode",
    "sorting",
    "tracking",
    "tracking trial map",
    "video",
    "histology",
)

_FILE = Column("file_path", TEXT, "path below the destination: {h2o}/{date}_s{session}/…")
_BYTES = Column("bytes", LONG, "size", "byte")
_SHA256 = Column("sha256", TEXT, "hash of the content; null where it was not read", nullable=True)
_TYPE = Column("file_type", LABEL, "what the file is", values=RAW_FILE_TYPES)

TABLES = (
    Table(
        "publication",
        "raw_file",
        "raw files of a session, as `maplake publish manifest` last found them",
        (
            SUBJECT_ID,
            SESSION,
            _FILE,
            _TYPE,
            Column("insertion_number", INT, "probe insertion that it belongs to", nullable=True),
            Column("camera", LABEL, "where the camera looks (side, bottom, body)", nullable=True),
            Column("trial", INT, "trial of a video or tracking file", nullable=True),
            _BYTES,
            Column("modified", TIMESTAMP, "last change of the file (UTC)"),
            _SHA256,
            Column("source_path", TEXT, "where it is on this machine"),
        ),
        key=("subject_id", "session", "file_path"),
        kind=KIND,
        refs=(TO_SESSION,),
    ),
    Table(
        "publication",
        "published_file",
        "copies of raw files that `maplake publish verify` found to be right",
        (
            SUBJECT_ID,
            SESSION,
            Column("destination", TEXT, "name of the place, as [publish.destinations] has it"),
            _FILE,
            _TYPE,
            _BYTES,
            _SHA256,
            Column("verified_by", LABEL, "what was compared", values=("sha256", "size")),
            Column("verified_time", TIMESTAMP, "when (UTC)"),
            Column("location", TEXT, "endpoint and path, or folder, of the destination"),
        ),
        key=("subject_id", "session", "destination", "file_path"),
        kind=KIND,
        refs=(TO_SESSION,),
    ),
)
