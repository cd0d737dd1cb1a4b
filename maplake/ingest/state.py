"""What is in the lake and from what: one small state file and one manifest per session."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from contextlib import suppress
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path, PurePosixPath
from stat import S_ISREG
from typing import Any

from maplake.errors import FileFormatError, IntegrityError
from maplake.layout import (
    LAKE_NAME,
    RECORDS,
    SPARED_RECORDS,
    Layout,
    is_inside,
    is_record,
    manifest_file,
    session_name,
    spare_file,
    state_file,
)
from maplake.recordfile import MOST, is_count, read_files, read_json
from maplake.seal import is_broken

#: Raw recordings are too large to be hashed whole at every ingest; these are sampled.
_SAMPLED = {".bin", ".cbin"}
_BLOCK = 1 << 20
_PIECE = 1 << 22  # bytes to hash at a time


@dataclass
class SourceState:
    """What became of one source.

    Attributes
    ----------
    kind, name
        Which source.
    status
        ``in``, ``failed`` or ``skipped``.
    reason
        Why it is not in.
    subject_id, session, insertion_number
        Where it went, as far as it applies.
    reader, reader_version
        What read it.
    readers
        Version of every reader that had a part in it.
    settings
        Hash over the settings that its rows depend on.
    fingerprint
        Hash over its files' names and contents.
    stat
        ``[path, bytes, mtime_ns]`` of every file, to see at a glance that nothing changed.
    files
        Hash of every file by path.
    outputs
        Files and folders of the lake that it owns.
    rows
        Rows by table.
    skipped
        Number of items left out, by type.
    depends
        Fingerprint of the behavior that it was aligned to.
    path
        File or folder of the source.
    h2o, start
        The animal's short name and, for behavior, the session's start from the file's name.
    time
        When it was taken in.
    """

    kind: str
    name: str
    status: str
    reason: str | None = None
    subject_id: int | None = None
    session: int | None = None
    insertion_number: int | None = None
    reader: str = ""
    reader_version: int = 0
    settings: str = ""
    fingerprint: str = ""
    stat: list[list[Any]] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, int] = field(default_factory=dict)
    depends: str = ""
    path: str = ""
    h2o: str = ""
    start: str = ""
    time: str = ""
    readers: dict[str, int] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Kind and name."""
        return (self.kind, self.name)

    @property
    def row_count(self) -> int:
        """Number of rows of all tables."""
        return sum(self.rows.values())

    @property
    def stat_print(self) -> str:
        """What :func:`print_of` makes of its files."""
        return print_of(self.stat)


_FIELDS = {f.name for f in fields(SourceState)}


def read_state(layout: Layout, name: str) -> dict[tuple[str, str], SourceState]:
    """Return the sources of a session (or of the whole lake) by kind and name."""
    found = parse_state(layout.root / state_file(name))
    if not found:
        _check_lost(layout, state_file(name))
    return found


def _check_lost(layout: Layout, record: PurePosixPath) -> None:
    """Refuse to take a record of which a second copy is there for one that never was.

    The next commit would write it anew without what it said, and the second copy with it.
    """
    # A commit writes the copy after the record, so it is looked for first.
    copied = record in SPARED_RECORDS and (layout.root / spare_file(record)).exists()
    if copied and not (layout.root / record).exists():
        raise IntegrityError(
            "a record of the whole lake is missing",
            file=layout.root / record,
            hint="`maplake rebuild --spare` puts its second copy in its place.",
        )


def read_whole(layout: Layout) -> dict[str, dict[tuple[str, str], SourceState]]:
    """Return every state that can be read, for repairs: a damaged one is as good as none."""
    found = {}
    for path in sorted((layout.meta / "state").glob(RECORDS)):
        with suppress(IntegrityError):
            found[path.stem] = parse_state(path)
    return found


def is_whole(path: Path) -> bool:
    """Whether a record is there and is what was written."""
    try:
        found = read_json(path)
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and not is_broken(found)


def read_all(layout: Layout) -> dict[str, dict[tuple[str, str], SourceState]]:
    """Return every state file's sources by the file's name."""
    try:
        with os.scandir(layout.meta / "state") as entries:
            paths = sorted(entry.path for entry in entries if is_record(entry.name))
    except FileNotFoundError:
        return {}
    return {Path(path).stem: _read(path) for path in paths}


#: What state files said when they were last read, with their stamps then.
_LAST_READ: dict[str, tuple[tuple[int, int, int], dict[tuple[str, str], SourceState]]] = {}


def _read(path: str) -> dict[tuple[str, str], SourceState]:
    """Return what a file says, parsed once while it stays the same; the caller may change it."""
    try:
        info = os.stat(path)  # noqa: PTH116 - thousands of files: texts are quick
    except FileNotFoundError:
        return {}
    stamp = (info.st_mtime_ns, info.st_size, info.st_ino)
    known = _LAST_READ.get(path)
    if known is None or known[0] != stamp:
        known = _LAST_READ[path] = (stamp, parse_state(Path(path)))
    return {key: copy(state) for key, state in known[1].items()}


def parse_state(path: Path) -> dict[tuple[str, str], SourceState]:
    """Return the sources that a state file tells of; none where there is no such file.

    Raises
    ------
    IntegrityError
        If it is damaged.
    """
    try:
        found = read_json(path)
        states = [
            SourceState(**{k: v for k, v in item.items() if k in _FIELDS})
            for item in found["sources"]
        ]
        for state in states:
            _check(state)
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            "a state file of the lake is damaged",
            file=path,
            found=str(error),
            hint="`maplake check` says which command repairs it.",
        ) from error
    return {state.key: state for state in states}


_KEYS = ("subject_id", "session", "insertion_number")
_TEXTS = [f.name for f in fields(SourceState) if f.type == "str"]
_COUNTS = [f.name for f in fields(SourceState) if f.type == "dict[str, int]"]


def _check(state: SourceState) -> None:
    """Refuse a state whose values are of other kinds than they were written."""
    values = vars(state)
    keys = [values[name] for name in _KEYS if values[name] is not None]
    sound = (
        all(type(values[name]) is str for name in _TEXTS)
        and (state.reason is None or type(state.reason) is str)
        and all(is_count(value) and value <= MOST for value in keys)
        and is_count(state.reader_version)
        and all(type(digest) is str for digest in state.files.values())
        and all(is_inside(path) for path in state.outputs)
        and all(is_count(n) for name in _COUNTS for n in values[name].values())
        and all([type(item) for item in one] == [str, int, int] for one in state.stat)
    )
    if not sound:
        raise ValueError(f"the record of {state.kind} {state.name} is not what was written")


def state_json(states: Iterable[SourceState]) -> dict[str, Any]:
    """Return the content of a state file; the order in which tables were written is left out."""
    ordered = sorted(states, key=lambda s: s.key)
    return {"sources": [asdict(s) | {"outputs": sorted(s.outputs)} for s in ordered]}


def read_manifest(layout: Layout, name: str) -> dict[str, dict[str, Any]]:
    """Return rows, bytes and SHA-256 of the files of a session (or of the whole lake)."""
    path = layout.root / manifest_file(name)
    try:
        return read_files(path)
    except FileNotFoundError:
        _check_lost(layout, manifest_file(name))
        return {}
    except ValueError as error:
        raise IntegrityError(
            "a manifest of the lake is damaged",
            file=path,
            found=str(error),
            hint="`maplake check` says which command repairs it.",
        ) from error


def state_name(subject_id: int | None, session: int | None) -> str:
    """Return the name of the state file that a source belongs to."""
    if subject_id is None or session is None:
        return LAKE_NAME
    return session_name(subject_id, session)


def stat_files(paths: Iterable[Path]) -> list[list[Any]]:
    """Return ``[path, bytes, mtime_ns]`` of each file; nothing is opened.

    Raises
    ------
    OSError
        If a file cannot be looked at.
    FileFormatError
        If it is a folder, or a pipe or device, which reading could wait for without end.
    """
    found = []
    for path in paths:
        info = path.stat()
        if not S_ISREG(info.st_mode):
            raise FileFormatError("is no plain file", file=path)
        found.append([str(path), info.st_size, info.st_mtime_ns])
    return found


def print_of(stat: list[list[Any]]) -> str:
    """Return a hash over what :func:`stat_files` returns."""
    return hashlib.sha256(json.dumps(stat).encode()).hexdigest()[:32]


def is_sampled(path: Path) -> bool:
    """Whether :func:`hash_file` reads only parts of a file."""
    return path.suffix in _SAMPLED


def hash_whole_file(path: Path) -> str:
    """Return the SHA-256 of a file's whole content."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        # Large pieces: after each, a thread may have to wait for the interpreter.
        piece = memoryview(bytearray(min(_PIECE, os.fstat(file.fileno()).st_size + 1)))
        while count := file.readinto(piece):
            digest.update(piece[:count])
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return a hash of a file's content; of raw recordings, of its size, first and last MiB."""
    if not is_sampled(path):
        return hash_whole_file(path)
    with path.open("rb") as file:
        size = path.stat().st_size
        digest = hashlib.sha256(f"{size}\n".encode())
        digest.update(file.read(_BLOCK))
        file.seek(max(0, size - _BLOCK))
        digest.update(file.read(_BLOCK))
        return digest.hexdigest()


def fingerprint(files: dict[str, str], base: Path) -> str:
    """Return one hash over the names (below ``base``) and hashes of files."""
    lines = sorted(
        f"{Path(os.path.relpath(name, base)).as_posix()} {digest}" for name, digest in files.items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
