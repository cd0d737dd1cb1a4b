"""Finds the histology of probe insertions that are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from maplake import readers
from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.session import PLANNED, Item, SessionPlan
from maplake.ingest.sources import EPHYS, HISTOLOGY, Part, Source
from maplake.readers.histology_files import Insertion, locate


def place(config: Config, sessions: Sequence[SessionPlan]) -> None:
    """Add the histology of every session's insertions to its plan."""
    roots = config.require_paths(HISTOLOGY)
    if not roots:
        return
    days = Counter((session.h2o, session.start.date()) for session in sessions)
    for session in sessions:
        that_day = days[session.h2o, session.start.date()]
        for number, relative in _insertions(session).items():
            insertion = Insertion(session.h2o, session.start, number, that_day, relative)
            source = _source(roots, insertion)
            if source is not None:
                session.items.append(Item(source, PLANNED))


def _insertions(session: SessionPlan) -> dict[int, PurePosixPath]:
    """Return the insertions that are found or in the lake, with their folders' relative paths."""
    known = {
        state.insertion_number or 0: PurePosixPath(state.name)
        for state in session.state.values()
        if state.kind == EPHYS
    }
    found = {
        item.source.insertion_number or 0: PurePosixPath(item.source.name)
        for item in session.items
        if item.source.kind == EPHYS
    }
    return dict(sorted((known | found).items()))


def _source(roots: Sequence[Path], insertion: Insertion) -> Source | None:
    name = f"{insertion.h2o}/{insertion.start:%Y%m%d_%H%M%S}/{insertion.insertion_number}"
    for root in roots:
        problem = None
        path: Path | None = root
        parts: tuple[Part, ...] = ()
        try:
            path = locate(root, insertion)
            if path is None:
                continue
            reader = next((r for r in readers.of_kind(HISTOLOGY) if r.find(path)), None)
            if reader is None:
                continue
            parts = (Part(HISTOLOGY, reader.name, path),)
        except SourceError as error:
            problem = error
        return Source(
            HISTOLOGY,
            name,
            path or root,
            insertion.h2o,
            insertion.start.date(),
            start=insertion.start,
            insertion_number=insertion.insertion_number,
            parts=parts,
            problem=problem,
        )
    return None
