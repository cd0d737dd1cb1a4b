"""Finds the histology of probe insertions that are known."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path, PurePosixPath

from maplake import readers
from maplake.config import Config
from maplake.errors import SourceError
from maplake.ingest.session import FAILED, PLANNED, WAITING, Item, SessionPlan
from maplake.ingest.sources import EPHYS, HISTOLOGY, Found, Part, Source
from maplake.readers.histology_files import Insertion, Named, locate, named_below


def place(config: Config, sessions: Sequence[SessionPlan]) -> list[Item]:
    """Add the histology of every session's insertions to its plan; return what is of none."""
    roots = config.require_paths(HISTOLOGY)
    if not roots:
        return []
    days = Counter((session.h2o, session.start.date()) for session in sessions)
    for session in sessions:
        that_day = days[session.h2o, session.start.date()]
        for number, relative in _insertions(session).items():
            insertion = Insertion(session.h2o, session.start, number, that_day, relative)
            source = _source(roots, insertion)
            if source is not None:
                session.items.append(Item(source, PLANNED))
    return _of_none(roots, sessions)


def _of_none(roots: Sequence[Path], sessions: Sequence[SessionPlan]) -> list[Item]:
    """Return the files by whose names there should be a session or a probe that there is not."""
    by_day: dict[tuple[str, date], list[SessionPlan]] = defaultdict(list)
    for session in sessions:
        by_day[session.h2o, session.start.date()].append(session)
    found, reasons = Found(), {}
    for root in roots:
        try:
            for file in named_below(root):
                reason = _missing(file, by_day.get((file.h2o, file.day), []))
                if reason:
                    when = f"{file.day:%Y%m%d}" + (f"_{file.time}" if file.time else "")
                    name = f"{file.h2o}/{when}/{file.insertion_number}"
                    found.add(Source(HISTOLOGY, name, file.path, file.h2o, file.day))
                    reasons[name] = reason
        except SourceError as error:
            found.fault(HISTOLOGY, root, error)
    # A probe has several files, of which the first is told.
    return [
        Item(s, FAILED, str(s.problem)) if s.problem else Item(s, WAITING, reasons[s.name])
        for s in found.sources
    ]


def _missing(file: Named, day: Sequence[SessionPlan]) -> str | None:
    """Tell what a file's name means and is not there."""
    if not day:
        return f"{file.h2o} has no session on {file.day}"
    meant = [s for s in day if file.time in (None, f"{s.start:%H%M%S}")]
    if not meant:
        starts = ", ".join(f"{session.start:%H:%M:%S}" for session in day)
        return (
            f"no session of {file.h2o} on {file.day} began at the {file.time} in the file's name "
            f"(there is: {starts})"
        )
    if any(file.insertion_number in _insertions(session) for session in meant):
        return None
    return f"{file.h2o} has no probe {file.insertion_number} on {file.day}"


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
