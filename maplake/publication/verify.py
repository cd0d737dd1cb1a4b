"""Holds a copy, or a listing of one, against the manifest, and remembers what is there."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

import polars as pl
import pyarrow as pa

from maplake.config import Config
from maplake.errors import CorruptFileError, UnreadableFileError
from maplake.ingest.lakes import update_catalog
from maplake.ingest.load_table import enter
from maplake.ingest.state import hash_whole_file
from maplake.publication.manifest import Progress, PublishedSession
from maplake.publication.transfer import PUBLISHED, destination_of
from maplake.tables import get

_SUM = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?P<path>.+)")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")

#: Returns the size and hash of a file of the copy, as far as known; None = it is not there.
_Look = Callable[[str], "tuple[int | None, str | None] | None"]


@dataclass
class Verified:
    """What became of each file of the manifest.

    ``problems`` are (path, what is wrong); ``by_size`` counts files of which only the size could
    be compared.
    """

    right: int = 0
    by_size: int = 0
    problems: list[tuple[str, str]] = field(default_factory=list)


def verify(
    config: Config,
    manifest: pl.DataFrame,
    sessions: Iterable[PublishedSession],
    destination: str,
    copy: Path,
    *,
    hashes: bool = True,
    progress: Progress | None = None,
) -> Verified:
    """Compare a copy with the manifest; files that are right go to the table of what is where.

    Parameters
    ----------
    config
        Names the lake and the destinations.
    manifest
        Rows of ``publication.raw_file``.
    sessions
        The sessions that they are of.
    destination
        Name of a destination.
    copy
        The copy's folder, or a file that lists it: lines of ``sha256sum``, a CSV file with the
        columns ``file_path`` and ``bytes`` or ``sha256``, or ``globus ls --recursive --long
        --format json``.
    hashes
        Read the files of a folder for their hashes; without, sizes are compared.
    progress
        Called with a file's name, the number of files done and their total.

    Raises
    ------
    NotFoundError
        If there is no such destination.
    UnreadableFileError
        If the copy or the listing cannot be read.
    CorruptFileError
        If the listing is none.
    """
    place = destination_of(config, destination)
    location = str(copy.resolve()) if copy.is_dir() else f"{place.endpoint}:{place.path}"
    look = _folder(copy, hashes=hashes) if copy.is_dir() else _listing(copy, place.path)
    result, now = Verified(), datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    right: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for done, row in enumerate(manifest.iter_rows(named=True), start=1):
        problem, compared = _compare(row, look)
        if problem is not None:
            result.problems.append((row["file_path"], problem))
        else:
            result.right += 1
            result.by_size += compared == "size"
            entry = {name: row[name] for name in _SCHEMA.names if name in row} | {
                "destination": destination,
                "verified_by": compared,
                "verified_time": now,
                "location": location,
            }
            right.setdefault((row["subject_id"], row["session"]), []).append(entry)
        if progress:
            progress(row["file_path"], done, len(manifest))
    for session in sessions:
        rows = right.get((session.subject_id, session.session))
        if rows:
            enter(config, PUBLISHED, pa.Table.from_pylist(rows, schema=_SCHEMA), copy)
    update_catalog(config)
    return result


def _compare(row: Mapping[str, Any], look: _Look) -> tuple[str | None, str]:
    """Return what is wrong with a file's copy, or None and what was compared."""
    found = look(row["file_path"])
    if found is None:
        return "is missing", ""
    size, digest = found
    if size is not None and size != row["bytes"]:
        return f"has {size} bytes, not {row['bytes']}", ""
    if digest is not None and row["sha256"] is not None:
        same = digest.lower() == row["sha256"]
        return (None, "sha256") if same else ("has another content (SHA-256)", "")
    return (None, "size") if size is not None else ("cannot be compared: no size, no hash", "")


def _folder(top: Path, *, hashes: bool) -> _Look:
    def look(name: str) -> tuple[int | None, str | None] | None:
        path = top.joinpath(*PurePosixPath(name).parts)
        if not path.is_file():
            return None
        try:
            return path.stat().st_size, hash_whole_file(path) if hashes else None
        except OSError as error:
            raise UnreadableFileError(
                "a file of the copy cannot be read", file=path, found=error.strerror
            ) from error

    return look


def _listing(path: Path, top: str) -> _Look:
    """Return what a listing says of each file, by its path below the destination."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorruptFileError("the listing is no text", file=path) from error
    except OSError as error:
        raise UnreadableFileError(
            "the copy's folder or listing cannot be read", file=path, found=error.strerror
        ) from error
    entries = _globus(text) or _sums(text) or _table(text)
    if not entries:
        raise CorruptFileError(
            "this is no listing of files",
            file=path,
            found=repr(text[:60]),
            expected="sha256sum lines, CSV with file_path and bytes or sha256, or globus ls JSON",
        )
    prefix = top.strip("/")
    below = {_below(name, prefix): entry for name, entry in entries.items()}
    return below.get


def _below(name: str, prefix: str) -> str:
    plain = name.replace("\\", "/").removeprefix("./").strip("/")
    return plain.removeprefix(f"{prefix}/") if prefix else plain


Entries = dict[str, tuple[int | None, str | None]]


def _globus(text: str) -> Entries:
    try:
        items = json.loads(text)["DATA"]
        return {
            str(item["name"]): (int(item["size"]), None)
            for item in items
            if item.get("type", "file") == "file"
        }
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return {}


def _sums(text: str) -> Entries:
    lines = [line for line in text.splitlines() if line.strip()]
    found = [_SUM.fullmatch(line) for line in lines]
    return {m["path"]: (None, m["sha256"]) for m in found if m} if all(found) else {}


def _table(text: str) -> Entries:
    try:
        rows = list(csv.DictReader(io.StringIO(text)))
        if not {"bytes", "sha256"} & set(rows[0] if rows else ()):
            return {}
        if not all(row["file_path"] for row in rows):  # rows that end before
            return {}
        return {
            row["file_path"]: (
                int(row["bytes"]) if row.get("bytes") else None,
                row["sha256"] if _SHA256.fullmatch(row.get("sha256") or "") else None,
            )
            for row in rows
        }
    except (csv.Error, ValueError, KeyError, TypeError):
        return {}


_SCHEMA = pa.schema([column.field for column in get(PUBLISHED).columns])
