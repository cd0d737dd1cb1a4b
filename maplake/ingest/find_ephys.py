"""Finds sorted probes below the ephys roots, by the layouts of their folders."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from maplake import readers
from maplake.config import Config
from maplake.errors import AmbiguousSourceError, MaplakeError, MissingFileError
from maplake.ingest.seen import Folder, Seen
from maplake.ingest.sources import EPHYS, LFP, Found, Part, Source, day_of, folders, reading

_RECORDING, _SORTING, _BITCODES = "recording", "sorting", "bitcodes"
#: Readers of files that are named after the animal: ``{h2o}_``….
_NAMED = ("bitcode", "jrclust_v3", "jrclust_v4")
_DATE = "%Y%m%d"

_LOOKS_LIKE_DAY = re.compile(r"\d{6}|\d{4}[-_. ]\d{1,2}[-_. ]\d{1,2}")
_LOOKS_LIKE_PROBE = re.compile(r"\d+|[^.]?.*(probe|imec)\D{0,2}\d.*", re.IGNORECASE)
_SESSION = (
    "{YYYYMMDD}, {YYYY-MM-DD}, catgt_{YYYYMMDD}_g0 or …{h2o}…{MMDDYY or YYYYMMDD}_…, of a day "
    "that there is"
)
_PROBE = "the probe's number, from 1 to 9, or …imec{number}, from 0 to 8"


def find(config: Config, seen: Seen) -> Found:
    """Find sorted probes below the ephys roots, in the roots' order."""
    return seen.find(EPHYS, config.require_paths(EPHYS), session_day, _search, _misnamed)


def find_lfp(config: Config, seen: Seen) -> Found:
    """Find the local field potentials of probes: LF bands whose samples are there."""
    return seen.find(LFP, config.require_paths(EPHYS), session_day, _search_lfp)


def _search(folder: Folder, found: Found) -> None:
    for place in _probe_folders(folder, EPHYS, found):
        found.add(_source(folder.root, place))


def _search_lfp(folder: Folder, found: Found) -> None:
    for place in _probe_folders(folder, LFP, found):
        try:
            part, probe = _one(place.path, LFP), _one(place.path, _RECORDING)
            problem = None
        except MaplakeError as error:
            part, probe, problem = None, None, error
        if part is None and problem is None:
            continue
        if part is not None and not (probe and part.path.with_suffix(".bin").exists()):
            continue
        source = _placed(folder.root, place, LFP)
        parts = (probe, part) if part and probe else ()
        found.add(replace(source, parts=parts, problem=problem))


@dataclass(frozen=True)
class _Place:
    """A probe's folder, by the layout of the folders above it."""

    path: Path
    h2o: str
    day: date
    insertion_number: int


def _probe_folders(folder: Folder, kind: str, found: Found) -> Iterator[_Place]:
    for probe in folders(folder.path, lambda error: found.unlisted(kind, error)):
        number = _insertion_number(probe.name)
        if number is not None:
            yield _Place(probe, folder.h2o, folder.day, number)
        elif kind == EPHYS and _LOOKS_LIKE_PROBE.match(probe.name):
            found.misname(kind, probe, _PROBE, folder.h2o, folder.day)


def session_day(name: str, h2o: str) -> date | None:
    """Read the day from a session folder's name, in any of the layouts.

    (a) ``20190303`` or ``2019-03-03``, (b) ``catgt_20190303_g0``,
    (c) ``…{h2o}…{MMDDYY or YYYYMMDD}_…``.
    """
    plain = re.fullmatch(r"(\d{4})-?(\d{2})-?(\d{2})|catgt_(\d{4})(\d{2})(\d{2})_g0", name)
    if plain:
        return day_of("".join(filter(None, plain.groups())), _DATE)
    ours = re.fullmatch(rf".*{re.escape(h2o)}.*?(\d{{8}}|\d{{6}})_.*", name)
    if ours:
        digits = ours[1]
        return day_of(digits, _DATE if len(digits) == 8 else "%m%d%y")
    return None


def _misnamed(name: str, h2o: str) -> str | None:
    """Return the pattern of session folders for a name that has a day but does not fit it."""
    other = re.fullmatch(rf"\d{{8}}_\d+|{re.escape(h2o)}_\d{{6}}(_\d+)?|\..*", name)
    return None if other or not _LOOKS_LIKE_DAY.search(name) else _SESSION


def _insertion_number(name: str) -> int | None:
    """Read the insertion's number from a probe folder's name; imec0 is insertion 1."""
    if re.fullmatch(r"\d", name):
        return int(name) or None
    imec = re.fullmatch(r".*imec(\d)(?:_ks\d*)?", name)
    return int(imec[1]) + 1 if imec else None


def _source(root: Path, place: _Place) -> Source:
    parts: list[Part] = []
    problem: MaplakeError | None = None
    waits_for = None
    try:
        sorting = _one(place.path, _SORTING, place.h2o)
        recording = _one(place.path, _RECORDING)
        bitcodes = _one(place.path, _BITCODES, place.h2o)
        parts = [part for part in (recording, bitcodes, sorting) if part]
        problem, waits_for = _missing(place.path, sorting, recording, bitcodes)
    except MaplakeError as error:
        problem = error
    source = _placed(root, place, EPHYS)
    return replace(source, parts=tuple(parts), problem=problem, waits_for=waits_for)


def _placed(root: Path, place: _Place, kind: str) -> Source:
    return Source(
        kind,
        place.path.relative_to(root).as_posix(),
        place.path,
        place.h2o,
        place.day,
        insertion_number=place.insertion_number,
    )


def _one(folder: Path, kind: str, h2o: str = "") -> Part | None:
    """Return what the best reader of a kind finds in a folder; more than one thing is an error.

    Of several files of a format that is named after the animal, those named so count.
    """
    for reader in readers.of_kind(kind):
        with reading(folder, reader.name):
            found = list(reader.find(folder))
        if len(found) > 1 and reader.name in _NAMED:
            found = [path for path in found if path.name.startswith(f"{h2o}_")] or found
        if len(found) > 1:
            raise AmbiguousSourceError(
                f"more than one {reader.name} {kind} in one probe folder",
                file=folder,
                found=", ".join(os.path.relpath(p, folder) for p in found),
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
