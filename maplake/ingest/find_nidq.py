"""Finds recordings of the rig's data acquisition board beside those of the probes."""

from __future__ import annotations

from maplake import readers
from maplake.config import Config
from maplake.ingest.find_ephys import session_day
from maplake.ingest.sources import EPHYS, NIDQ, Found, Part, Source, folders


def find(config: Config) -> Found:
    """Find one board recording per session folder, where its samples are there."""
    found = Found()
    for root in config.require_paths(EPHYS):
        for animal in folders(root, NIDQ, found):
            for session in folders(animal, NIDQ, found):
                day = session_day(session.name, animal.name)
                if day is None:
                    continue
                for reader in readers.of_kind(NIDQ):
                    for path in reader.find(session)[:1]:
                        if not path.with_suffix(".bin").exists():
                            continue
                        name = session.relative_to(root).as_posix()
                        part = Part(NIDQ, reader.name, path)
                        found.add(Source(NIDQ, name, path, animal.name, day, parts=(part,)))
    return found
