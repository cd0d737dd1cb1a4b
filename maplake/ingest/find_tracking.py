"""Finds tracked videos: one source per session and camera."""

from __future__ import annotations

from maplake import readers
from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.seen import Folder, Seen
from maplake.ingest.sources import TRACKING, Found, Part, Source
from maplake.readers.dlc_files import tracking_folders


def find(config: Config, seen: Seen) -> Found:
    """Find the cameras of sessions below the tracking roots, in the roots' order."""
    found = Found()
    config.require_paths(TRACKING)
    for rig in config.tracking.rigs:
        try:
            folders = tracking_folders(rig.path, rig.name)
        except SourceError as error:
            found.fault(TRACKING, rig.path, error)
            continue
        places = (Folder(rig.path, f.path, f.h2o, f.day, f.n, rig.name) for f in folders)
        seen.find_in(TRACKING, places, _cameras, found)
    return found


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
