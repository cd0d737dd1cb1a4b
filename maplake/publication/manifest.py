"""Manifests: every raw file of a session with its type, size and hash, as a table of the lake."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from maplake.config import Config
from maplake.errors import NotFoundError, UnreadableFileError
from maplake.ingest.lakes import update_catalog
from maplake.ingest.load_table import enter
from maplake.ingest.session import IN, State
from maplake.ingest.sources import BEHAVIOR
from maplake.ingest.state import hash_whole_file, is_sampled, read_all
from maplake.layout import Layout, table_file
from maplake.publication.raw_files import RawFile, folder_of, raw_files
from maplake.tables import get

TABLE = "publication.raw_file"
Progress = Callable[[str, int, int], None]
_READERS = 2  # files hashed at once: disks are the limit


@dataclass(frozen=True)
class PublishedSession:
    """A session that is in the lake: its key, the animal's short name, and its sources."""

    subject_id: int
    session: int
    h2o: str
    day: date
    state: State

    @property
    def partition(self) -> dict[str, int]:
        """subject_id and session."""
        return {"subject_id": self.subject_id, "session": self.session}

    def __str__(self) -> str:
        return f"{self.h2o} session {self.session}"


def sessions_of(
    config: Config, subject: int | str | None = None, session: int | None = None
) -> list[PublishedSession]:
    """Return the sessions in the lake, of one animal or all, by animal and number.

    Parameters
    ----------
    config
        Names the lake.
    subject
        subject_id or water restriction number; None = all.
    session
        Number of the session; None = all.

    Raises
    ------
    NotFoundError
        If there is no such session.
    """
    found = []
    for state in read_all(Layout(config.lake.root)).values():
        behavior = next((s for s in state.values() if s.kind == BEHAVIOR and s.status == IN), None)
        if behavior is None or behavior.subject_id is None or behavior.session is None:
            continue
        if subject is not None and str(subject) not in (str(behavior.subject_id), behavior.h2o):
            continue
        if session in (None, behavior.session):
            day = datetime.fromisoformat(behavior.start).date()
            key = (behavior.subject_id, behavior.session, behavior.h2o)
            found.append(PublishedSession(*key, day, state))
    if not found:
        asked = "" if subject is None else f" of {subject}"
        which = "no session" if session is None else f"no session {session}"
        raise NotFoundError(f"the lake has {which}{asked}", hint="`maplake status` lists them.")
    return sorted(found, key=lambda s: (s.subject_id, s.session))


def make_manifest(
    config: Config,
    sessions: Sequence[PublishedSession],
    *,
    hashes: bool = True,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """List the raw files of sessions in ``publication.raw_file``, with their SHA-256.

    Only files that are new or were changed since the last time are read.

    Parameters
    ----------
    config
        Names the lake.
    sessions
        See :func:`sessions_of`.
    hashes
        Read every file for its hash; without, only hashes that are known are in the table.
    progress
        Called with a file's name, the number of files done and their total.

    Returns
    -------
    The rows of ``publication.raw_file``.

    Raises
    ------
    UnreadableFileError
        If a raw file or its folder has gone or cannot be read.
    """
    planned = [(s, raw_files(s.state, folder_of(s.h2o, s.day, s.session))) for s in sessions]
    total, done = sum(len(files) for _, files in planned), 0
    frames = []
    for session, files in planned:
        known = _known(config, session)
        rows = []
        with ThreadPoolExecutor(_READERS) as pool:
            jobs = [_row(session, file, known, pool if hashes else None) for file in files]
            for file, (row, digest) in zip(files, jobs, strict=True):
                rows.append(row | {"sha256": _result(digest, file)})
                done += 1
                if progress:
                    progress(str(file.target), done, total)
        data = pa.Table.from_pylist(rows, schema=_SCHEMA)
        enter(config, TABLE, data, config.lake.root, whole=True)
        frames.append(pl.DataFrame(data))
    update_catalog(config)
    return pl.concat(frames)


def read_manifest(config: Config, sessions: Iterable[PublishedSession]) -> pl.DataFrame:
    """Return the rows of ``publication.raw_file`` of sessions.

    Raises
    ------
    NotFoundError
        If a session has no manifest yet.
    """
    frames = []
    for session in sessions:
        rows = rows_of(config, TABLE, session)
        if rows is None:
            raise NotFoundError(
                f"{session} has no manifest yet", hint="Make it: `maplake publish manifest`."
            )
        frames.append(rows)
    return pl.concat(frames)


def rows_of(config: Config, table: str, session: PublishedSession) -> pl.DataFrame | None:
    """Return a session's rows of a table, with its key; None if it has none."""
    path = config.lake.root / table_file(get(table), session.partition)
    if not path.exists():
        return None
    rows = pl.read_parquet(path, hive_partitioning=False)
    key = [pl.lit(value, pl.Int32).alias(name) for name, value in session.partition.items()]
    return rows.select(*key, pl.all())


def _known(config: Config, session: PublishedSession) -> dict[tuple[str, int, datetime], str]:
    """Return hashes of files by path, size and time, from the last manifest and from ingest."""
    known = {}
    for source in session.state.values():
        for path, size, modified in source.stat:
            digest = source.files.get(path)
            if digest is not None and not is_sampled(Path(path)):
                known[path, int(size), _time(modified)] = digest
    rows = rows_of(config, TABLE, session)
    if rows is not None:
        columns = ("source_path", "bytes", "modified", "sha256")
        for path, size, modified, digest in rows.select(columns).iter_rows():
            if digest is not None:
                known[path, size, modified] = digest
    return known


def _row(
    session: PublishedSession,
    file: RawFile,
    known: Mapping[tuple[str, int, datetime], str],
    pool: ThreadPoolExecutor | None,
) -> tuple[dict[str, Any], Future[str] | str | None]:
    try:
        info = file.path.stat()
    except OSError as error:
        raise _gone(file, error) from error
    modified = _time(info.st_mtime_ns)
    digest: Future[str] | str | None = known.get((str(file.path), info.st_size, modified))
    if digest is None and pool is not None:
        digest = pool.submit(hash_whole_file, file.path)
    row = session.partition | {
        "file_path": str(file.target),
        "file_type": file.file_type,
        "insertion_number": file.insertion_number,
        "camera": file.camera,
        "trial": file.trial,
        "bytes": info.st_size,
        "modified": modified,
        "source_path": str(file.path),
    }
    return row, digest


def _result(digest: Future[str] | str | None, file: RawFile) -> str | None:
    if not isinstance(digest, Future):
        return digest
    try:
        return digest.result()
    except OSError as error:
        raise _gone(file, error) from error


def _gone(file: RawFile, error: OSError) -> UnreadableFileError:
    return UnreadableFileError(
        "a raw file cannot be read",
        file=file.path,
        found=error.strerror,
        hint="Has it been moved or unmounted since it was ingested?",
    )


def _time(nanoseconds: int) -> datetime:
    """Return a file's time to the microsecond, in UTC without a zone, as the table keeps it."""
    seconds, rest = divmod(nanoseconds // 1000, 1_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None, microsecond=rest)


_SCHEMA = pa.schema([column.field for column in get(TABLE).columns])
