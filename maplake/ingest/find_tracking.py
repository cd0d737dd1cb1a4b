"""Finds tracked videos: one source per session and camera."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from maplake import readers
from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.find_ephys import session_day
from maplake.ingest.seen import Folder, Seen
from maplake.ingest.sources import TRACKING, Found, Part, Source
from maplake.readers.dlc_files import from_zero, tracking_folders


def find(config: Config, seen: Seen) -> Found:
    """Find the cameras of sessions below the tracking roots, in the roots' order."""
    found = Found()
    config.require_paths(TRACKING)
    for rig in config.tracking.rigs:
        try:
            folders = tracking_folders(rig.path, rig.name, partial(_misname, found, rig.name))
        except SourceError as error:
            found.fault(TRACKING, rig.path, error)
            continue
        places = (Folder(rig.path, f.path, f.h2o, f.day, f.n, rig.name) for f in folders)
        seen.find_in(TRACKING, places, _cameras, found)
    return found


def _misname(found: Found, rig: str, path: Path, h2o: str) -> None:
    """Note a folder that looks like a session's but for its name; below a root lie others, too."""
    name = path.name
    if name.startswith(".") or not re.search(r"\d{6}|\d{4}[-_. ]\d{1,2}[-_. ]\d{1,2}", name):
        return
    if from_zero(rig):
        found.misname(TRACKING, path, "{YYYY_MM_DD}[_{n}], of a day that there is", h2o)
    elif (path / "tracking").is_dir() or (f"{h2o}_" in name and session_day(name, h2o) is None):
        expected = "{h2o}_{MMDDYY}[_{n}] or {YYYYMMDD}[_{n}]/tracking, of a day that there is"
        found.misname(TRACKING, path, expected, h2o)


def _cameras(folder: Folder, found: Found) -> None:
    for reader in readers.of_kind(TRACKING):
        try:
            paths = reader.find(folder.path)
        except SourceError as error:
            found.fault(TRACKING, folder.path, error)
            continue
        for path in paths:
            found.add(
                Source(
                    TRACKING,
                    f"{folder.h2o}/{folder.day:%Y%m%d}/{folder.nth}/{path.name}",
                    path,
                    folder.h2o,
                    folder.day,
                    nth=folder.nth,
                    rig=folder.rig,
                    parts=(Part(TRACKING, reader.name, path),),
                )
            )
