"""Finds behavior sessions below the rigs' roots, by the names of their files."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from datetime import date, datetime
from functools import partial
from operator import itemgetter
from pathlib import Path

from maplake import readers
from maplake.config import BehaviorRig, Config
from maplake.errors import SourceError
from maplake.ingest.seen import File, Seen
from maplake.ingest.sources import BEHAVIOR, Found, Part, Source, reading
from maplake.ingest.state import print_of, stat_files
from maplake.readers import Reader, listing
from maplake.readers.base import Identity

#: Files that carry a time but have no session's name: a copy, a download that was cut short, a day
#: that there is not.
_LOOKS_LIKE = re.compile(r"[^.].*\d{6,}[_-]\d{4,}.*\.mat", re.IGNORECASE)
_LOOKS_JOINED = re.compile(r"[^.].*\d{6,}[_-]\d{4,}.*\.csv", re.IGNORECASE)
_NAME = "{h2o}_{protocol}_{YYYYMMDD}_{HHMMSS}.mat"
_NAME_JOINED = "{YYYYMMDD}-{HHMMSS}.csv"

#: What a file tells: the reader's name, h2o, start (ISO), and whether the file is all that is read.
Told = tuple[str, str, str, bool]

#: Files by the name of their reader, h2o and day: start, path, and what the system lists.
_Days = dict[tuple[str, str, date], list[tuple[datetime, Path, File | None]]]


def find(config: Config, seen: Seen) -> Found:
    """Find behavior sessions, in order of the rigs' priority, then those of joined files."""
    found = Found()
    config.require_paths(BEHAVIOR)
    for rig in sorted(config.behavior.rigs, key=lambda rig: rig.priority):
        for entry in listing.entries(rig.path, partial(found.unlisted, BEHAVIOR)):
            _add(entry, rig, config.behavior.min_file_kib, seen, found)
    config.require_paths("foraging")
    days: _Days = defaultdict(list)
    for project in config.foraging.projects:
        _joined(project, seen, found, days)
    _add_days(days, found)
    return found


def _add(
    entry: os.DirEntry[str], rig: BehaviorRig, min_file_kib: float, seen: Seen, found: Found
) -> None:
    """Add the session that a file is of, if it is one."""
    path, file = Path(entry.path), File.listed(entry)
    try:
        with reading(path, BEHAVIOR):
            told = _tell(path) if file is None else seen.told(file, partial(_tell, path))
    except SourceError as error:
        found.fault(BEHAVIOR, path, error)
        return
    if told is None:
        if _LOOKS_LIKE.match(entry.name):
            found.misname(BEHAVIOR, path, _NAME)
        return
    source = _source(path, rig.name, told, file)
    try:
        reason = _aborted(path, file, min_file_kib, seen)
    except SourceError as error:
        found.fault(BEHAVIOR, path, error)
        return
    if reason:
        found.skip(source, reason)
    else:
        found.add(source)


def _aborted(path: Path, file: File | None, min_file_kib: float, seen: Seen) -> str | None:
    if file is None:
        with reading(path, BEHAVIOR):
            stat_files([path])
    elif file.size < min_file_kib * 1024 and not _may_be_small(path, file, seen):
        return (
            f"{file.size / 1024:.0f} KiB, under behavior.min_file_kib = {min_file_kib:g}: taken "
            "for an aborted session"
        )
    return None


def _may_be_small(path: Path, file: File, seen: Seen) -> bool:
    """Whether the content is that of a task whose sessions may be small."""

    def is_told_apart() -> bool:
        with reading(path, BEHAVIOR):
            return any(r.recognise and r.find(path) and r.recognise(path)
                       for r in readers.of_kind(BEHAVIOR))  # fmt: skip

    try:
        return bool(seen.told(file, is_told_apart, "may be small"))
    except SourceError:
        return False  # an aborted session may well be damaged


def _readers(*, joins: bool) -> list[Reader]:
    return [r for r in readers.of_kind(BEHAVIOR) if r.joins is joins and r.identify is not None]


def _tell(path: Path) -> Told | None:
    # Formats that the content tells apart share their names: the last one stands for all.
    for reader in reversed(_readers(joins=False)):
        identity = reader.identify(path) if reader.identify and reader.find(path) else None
        if identity is not None:
            return _told(reader, identity)
    return None


def _told(reader: Reader, identity: Identity) -> Told:
    start = identity.start.isoformat()
    return (reader.name, identity.h2o, start, reader.opens_itself_only)


def _source(path: Path, rig: str, told: Told, file: File | None) -> Source:
    reader, h2o, start, alone = told
    began = datetime.fromisoformat(start)
    return Source(
        BEHAVIOR,
        path.stem,
        path,
        h2o,
        began.date(),
        start=began,
        rig=rig,
        parts=(Part(BEHAVIOR, reader, path),),
        stat_print=print_of([file.stat]) if file is not None and alone else None,
    )


def _joined(root: Path, seen: Seen, found: Found, days: _Days) -> None:
    """Find the files that are joined by animal and day."""
    for entry in listing.entries(root, partial(found.unlisted, BEHAVIOR)):
        path, file = Path(entry.path), File.listed(entry)
        tell = partial(_tell_joined, path)
        try:
            told = tell() if file is None else seen.told(file, tell, "joined")
        except SourceError as error:
            found.fault(BEHAVIOR, path, error)
            continue
        if not told and _LOOKS_JOINED.match(entry.name) and not _is_joined(path):
            found.misname(BEHAVIOR, path, _NAME_JOINED)
        for reader, h2o, start, alone in told:
            began = datetime.fromisoformat(start)
            days[reader, h2o, began.date()].append((began, path, file if alone else None))


def _add_days(days: _Days, found: Found) -> None:
    """Add a session for each animal and day; an animal may change the project within a day."""
    for (reader, h2o, day), files in sorted(days.items()):
        name = f"{h2o}_{reader}_{day:%Y%m%d}"
        kept: dict[tuple[datetime, str], tuple[Path, File | None]] = {}
        for began, path, file in files:
            first, _ = kept.setdefault((began, path.name), (path, file))
            if first != path:  # a copy of a project
                part = Part(BEHAVIOR, reader, path)
                copy = Source(BEHAVIOR, name, path, h2o, day, start=began, parts=(part,))
                found.skip(copy, f"the same was found first at {first}")
        paths = [kept[key][0] for key in sorted(kept)]
        known = [file for _, file in sorted(kept.values(), key=itemgetter(0)) if file is not None]
        found.add(
            Source(
                BEHAVIOR,
                name,
                paths[0],
                h2o,
                day,
                start=min(kept)[0],
                parts=(Part(BEHAVIOR, reader, paths[0], tuple(paths[1:])),),
                stat_print=print_of([f.stat for f in known]) if len(known) == len(paths) else None,
            )
        )


def _is_joined(path: Path) -> bool:
    return any(reader.find(path) for reader in _readers(joins=True))


def _tell_joined(path: Path) -> list[Told]:
    told = []
    for reader in _readers(joins=True):
        if reader.identify is None:
            continue
        with reading(path, reader.name):
            if not reader.find(path):
                continue
            stat_files([path])  # a pipe would wait for a writer for ever
            identity = reader.identify(path)
        if identity is not None:
            told.append(_told(reader, identity))
    return told
