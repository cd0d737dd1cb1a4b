"""Finds recordings of the rig's data acquisition board beside those of the probes."""

from __future__ import annotations

from maplake import readers
from maplake.config import Config
from maplake.ingest.find_ephys import session_day
from maplake.ingest.seen import Folder, Seen
from maplake.ingest.sources import EPHYS, NIDQ, Found, Part, Source


def find(config: Config, seen: Seen) -> Found:
    """Find one board recording per session folder, where its samples are there."""
    return seen.find(NIDQ, config.require_paths(EPHYS), session_day, _search)


def _search(place: Folder, found: Found) -> None:
    for reader in readers.of_kind(NIDQ):
        for path in reader.find(place.path)[:1]:
            if path.with_suffix(".bin").exists():
                part = Part(NIDQ, reader.name, path)
                found.add(Source(NIDQ, place.name, path, place.h2o, place.day, parts=(part,)))
