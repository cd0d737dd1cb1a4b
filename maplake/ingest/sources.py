"""Discovery: which sources lie below the configured roots; contents are not read.

A source is the files of one thing: a behavior session, or the sorting of one probe.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from maplake import readers
from maplake.config import Config
from maplake.errors import (
    AmbiguousSourceError,
    MaplakeError,
    MissingFileError,
    UnreadableFileError,
)
from maplake.readers import Reader

BEHAVIOR, EPHYS = "behavior", "ephys"
_RECORDING, _SORTING, _BITCODES = "recording", "sorting", "bitcodes"
_DATE = "%Y%m%d"


@dataclass(frozen=True)
class Part:
    """One path of a source and the reader that it is for."""

    kind: str
    reader: str
    path: Path

    def get_reader(self) -> Reader:
        """Return the reader."""
        return next(r for r in readers.of_kind(self.kind) if r.name == self.reader)


@dataclass(frozen=True)
class Source:
    """The files of one thing.

    Attributes
    ----------
    kind
        ``behavior`` or ``ephys``.
    name
        Unique within the kind, and the same wherever the root lies.
    path
        File or folder.
    h2o
        The animal's short name.
    day
        Day of the session.
    start
        Start of the session, where the name tells.
    insertion_number
        Probe insertion.
    rig
        Rig of the root below which it was found.
    parts
        What to read, in order.
    problem
        What is wrong with it already at first sight.
    waits_for
        What is still missing, where that is no fault.
    """

    kind: str
    name: str
    path: Path
    h2o: str
    day: date
    start: datetime | None = None
    insertion_number: int | None = None
    rig: str = ""
    parts: tuple[Part, ...] = ()
    problem: MaplakeError | None = None
    waits_for: str | None = None

    def part(self, kind: str) -> Part | None:
        """Return the part of a kind, or None."""
        return next((part for part in self.parts if part.kind == kind), None)

    def files(self) -> list[Path]:
        """Return every file that the readers will open, sorted."""
        found = {Path(f) for part in self.parts for f in part.get_reader().files(part.path)}
        return sorted(found)


@dataclass
class Found:
    """What discovery found.

    ``skipped`` are sources that are left out for good, with the reason.
    """

    sources: list[Source] = field(default_factory=list)
    skipped: list[tuple[Source, str]] = field(default_factory=list)


def behavior_sources(config: Config) -> Found:
    """Find behavior sessions below the rigs' roots, in order of the rigs' priority."""
    found = Found()
    seen: dict[str, Source] = {}
    config.require_paths(BEHAVIOR)
    for rig in sorted(config.behavior.rigs, key=lambda rig: rig.priority):
        for path in _walk(rig.path):
            source = _behavior_source(path, rig.name)
            if source is None:
                continue
            if source.name in seen:
                reason = f"the same file was found first at {seen[source.name].path}"
                found.skipped.append((source, reason))
                continue
            seen[source.name] = source
            size = path.stat().st_size
            if size < config.behavior.min_file_kib * 1024:
                reason = (
                    f"{size / 1024:.0f} KiB, under behavior.min_file_kib = "
                    f"{config.behavior.min_file_kib:g}: taken for an aborted session"
                )
                found.skipped.append((source, reason))
            else:
                found.sources.append(source)
    return found


def _walk(root: Path) -> Iterator[Path]:
    """Iterate over the files below a folder in a fixed order."""

    def fail(error: OSError) -> None:
        raise UnreadableFileError(
            "a folder cannot be listed", file=error.filename, found=error.strerror
        ) from error

    for folder, names, file_names in os.walk(root, onerror=fail):
        names.sort()
        for name in sorted(file_names):
            yield Path(folder, name)


def _behavior_source(path: Path, rig: str) -> Source | None:
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


def ephys_sources(config: Config) -> Found:
    """Find sorted probes below the ephys roots."""
    found = Found()
    seen: dict[str, Path] = {}
    for root in config.require_paths(EPHYS):
        for place in _probe_folders(root):
            source = _ephys_source(root, place)
            if source.name in seen:
                reason = f"the same probe folder was found first at {seen[source.name]}"
                found.skipped.append((source, reason))
            else:
                seen[source.name] = source.path
                found.sources.append(source)
    return found


@dataclass(frozen=True)
class _Place:
    """A probe's folder, by the layout of the folders above it."""

    path: Path
    h2o: str
    day: date
    insertion_number: int


def _probe_folders(root: Path) -> Iterator[_Place]:
    for animal in _folders(root):
        for session in _folders(animal):
            day = _session_day(session.name, animal.name)
            if day is None:
                continue
            for probe in _folders(session):
                number = _insertion_number(probe.name)
                if number is not None:
                    yield _Place(probe, animal.name, day, number)


def _folders(path: Path) -> list[Path]:
    try:
        return sorted(entry for entry in path.iterdir() if entry.is_dir())
    except OSError as error:
        raise UnreadableFileError(
            "a folder cannot be listed", file=path, found=error.strerror
        ) from error


def _session_day(name: str, h2o: str) -> date | None:
    """Read the day from a session folder's name, in any of the layouts.

    (a) ``20190303`` or ``2019-03-03``, (b) ``catgt_20190303_g0``,
    (c) ``…{h2o}…{MMDDYY or YYYYMMDD}_…``.
    """
    plain = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})|catgt_(\d{4})(\d{2})(\d{2})_g0", name)
    if plain:
        return _day("".join(filter(None, plain.groups())), _DATE)
    ours = re.fullmatch(rf".*{re.escape(h2o)}.*?(\d{{8}}|\d{{6}})_.*", name)
    if ours:
        digits = ours[1]
        return _day(digits, _DATE if len(digits) == 8 else "%m%d%y")
    return None


def _day(text: str, form: str) -> date | None:
    try:
        return datetime.strptime(text, form).date()
    except ValueError:
        return None


def _insertion_number(name: str) -> int | None:
    """Read the insertion's number from a probe folder's name; imec0 is insertion 1."""
    if re.fullmatch(r"\d", name):
        return int(name) or None
    imec = re.fullmatch(r".*imec(\d)(?:_ks\d*)?", name)
    return int(imec[1]) + 1 if imec else None


def _ephys_source(root: Path, place: _Place) -> Source:
    parts: list[Part] = []
    problem: MaplakeError | None = None
    waits_for = None
    try:
        sorting = _one(place.path, _SORTING)
        recording = _one(place.path, _RECORDING)
        bitcodes = _one(place.path, _BITCODES)
        parts = [part for part in (recording, bitcodes, sorting) if part]
        problem, waits_for = _missing(place.path, sorting, recording, bitcodes)
    except MaplakeError as error:
        problem = error
    return Source(
        EPHYS,
        place.path.relative_to(root).as_posix(),
        place.path,
        place.h2o,
        place.day,
        insertion_number=place.insertion_number,
        parts=tuple(parts),
        problem=problem,
        waits_for=waits_for,
    )


def _one(folder: Path, kind: str) -> Part | None:
    """Return what the best reader of a kind finds in a folder; more than one thing is an error."""
    for reader in readers.of_kind(kind):
        found = list(reader.find(folder))
        if len(found) > 1:
            raise AmbiguousSourceError(
                f"more than one {reader.name} {kind} in one probe folder",
                file=folder,
                found=", ".join(p.relative_to(folder).as_posix() or "." for p in found),
                expected="one",
                hint="Move the ones that should not be read out of the folder.",
            )
        if found:
            return Part(kind, reader.name, found[0])
    return None


def _missing(
    folder: Path, sorting: Part | None, recording: Part | None, bitcodes: Part | None
) -> tuple[MaplakeError | None, str | None]:
    """Return what is missing: a fault, or something that may still come."""
    if not sorting and not recording and not bitcodes and not any(folder.iterdir()):
        return MissingFileError("the probe's folder is empty", file=folder), None
    if not sorting:
        return None, "not sorted yet: no JRCLUST or Kilosort output in the probe's folder"
    for part, what in (
        (recording, "SpikeGLX metadata (*.ap.meta)"),
        (bitcodes, "bitcode file (*bitcode.mat)"),
    ):
        if part is None:
            return MissingFileError(f"there is no {what} in the probe's folder", file=folder), None
    return None, None
