"""Finds behavior sessions below the rigs' roots, by the names of their files."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from pathlib import Path

from maplake import readers
from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.sources import BEHAVIOR, Found, Part, Source, reading, walk
from maplake.ingest.state import stat_files
from maplake.readers import Reader
from maplake.readers.base import Identity


def find(config: Config) -> Found:
    """Find behavior sessions, in order of the rigs' priority, then those of joined files."""
    found = Found()
    config.require_paths(BEHAVIOR)
    for rig in sorted(config.behavior.rigs, key=lambda rig: rig.priority):
        for path in walk(rig.path, BEHAVIOR, found):
            source = _source(path, rig.name)
            if source is None:
                continue
            try:
                reason = _aborted(path, config.behavior.min_file_kib)
            except SourceError as error:
                found.fault(BEHAVIOR, path, error)
                continue
            if reason:
                found.skip(source, reason)
            else:
                found.add(source)
    config.require_paths("foraging")
    for project in config.foraging.projects:
        _joined(project, found)
    return found


def _aborted(path: Path, min_file_kib: float) -> str | None:
    with reading(path, BEHAVIOR):
        ((_, size, _),) = stat_files([path])
    if size >= min_file_kib * 1024 or _is_told_apart(path):
        return None
    return (
        f"{size / 1024:.0f} KiB, under behavior.min_file_kib = {min_file_kib:g}: taken for an "
        "aborted session"
    )


def _is_told_apart(path: Path) -> bool:
    """Whether the content is that of a task whose sessions may be small."""
    try:
        with reading(path, BEHAVIOR):
            return any(r.recognise and r.find(path) and r.recognise(path)
                       for r in readers.of_kind(BEHAVIOR))  # fmt: skip
    except SourceError:
        return False  # an aborted session may well be damaged


def _readers(*, joins: bool) -> list[Reader]:
    return [r for r in readers.of_kind(BEHAVIOR) if r.joins is joins and r.identify is not None]


def _source(path: Path, rig: str) -> Source | None:
    # Formats that the content tells apart share their names: the last one stands for all.
    for reader in reversed(_readers(joins=False)):
        identity = reader.identify(path) if reader.identify and reader.find(path) else None
        if identity is not None:
            return Source(
                BEHAVIOR,
                path.stem,
                path,
                identity.h2o,
                identity.start.date(),
                start=identity.start,
                rig=rig,
                parts=(Part(BEHAVIOR, reader.name, path),),
            )
    return None


def _joined(root: Path, found: Found) -> None:
    """Find sessions whose files are joined by animal and day."""
    days: dict[tuple[str, str, date], list[tuple[Identity, Path]]] = defaultdict(list)
    for path in walk(root, BEHAVIOR, found):
        for reader in _readers(joins=True):
            if reader.identify is None or not reader.find(path):
                continue
            try:
                with reading(path, reader.name):
                    stat_files([path])  # a pipe would wait for a writer for ever
                    identity = reader.identify(path)
            except SourceError as error:
                found.fault(BEHAVIOR, path, error)
                continue
            if identity is not None:
                days[reader.name, identity.h2o, identity.start.date()].append((identity, path))
    for (reader_name, h2o, day), files in sorted(days.items()):
        files.sort(key=lambda item: (item[0].start, item[1]))
        first, *more = [path for _, path in files]
        found.add(
            Source(
                BEHAVIOR,
                f"{h2o}_{reader_name}_{day:%Y%m%d}",
                first,
                h2o,
                day,
                start=files[0][0].start,
                parts=(Part(BEHAVIOR, reader_name, first, tuple(more)),),
            )
        )
