"""Finds behavior sessions below the rigs' roots, by the names of their files."""

from __future__ import annotations

from pathlib import Path

from maplake import readers
from maplake.config import Config
from maplake.ingest.sources import BEHAVIOR, Found, Part, Source, walk


def find(config: Config) -> Found:
    """Find behavior sessions, in order of the rigs' priority."""
    found = Found()
    config.require_paths(BEHAVIOR)
    for rig in sorted(config.behavior.rigs, key=lambda rig: rig.priority):
        for path in walk(rig.path, BEHAVIOR, found):
            source = _source(path, rig.name)
            if source is None:
                continue
            reason = _aborted(path, config.behavior.min_file_kib)
            if reason:
                found.skipped.append((source, reason))
            else:
                found.add(source)
    return found


def _aborted(path: Path, min_file_kib: float) -> str | None:
    size = path.stat().st_size
    if size >= min_file_kib * 1024:
        return None
    return (
        f"{size / 1024:.0f} KiB, under behavior.min_file_kib = {min_file_kib:g}: taken for an "
        "aborted session"
    )


def _source(path: Path, rig: str) -> Source | None:
    for reader in readers.of_kind(BEHAVIOR):
        if not reader.find(path) or reader.identify is None:
            continue
        identity = reader.identify(path)
        if identity is None:
            continue
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
