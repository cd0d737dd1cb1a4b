"""Which sources must be read: new ones, changed ones, and those aligned to what changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from maplake.errors import MaplakeError, MissingFileError, UnreadableFileError
from maplake.ingest.session import (
    DELETED,
    FAILED,
    IN,
    PLANNED,
    UNCHANGED,
    WAITING,
    Item,
    SessionPlan,
)
from maplake.ingest.sources import BEHAVIOR, EPHYS, HISTOLOGY, LFP, NIDQ, TRACKING, Source
from maplake.ingest.state import SourceState, hash_file, stat_files

#: What must be in the lake before a kind can be; in the order in which kinds are read.
ORDER = (BEHAVIOR, EPHYS, LFP, NIDQ, TRACKING, HISTOLOGY)
NEEDS = {EPHYS: BEHAVIOR, LFP: EPHYS, NIDQ: EPHYS, TRACKING: BEHAVIOR, HISTOLOGY: EPHYS}

#: Kinds whose results replace those in the lake only on request, and the part that makes them.
ON_REQUEST = {EPHYS: "sorting", HISTOLOGY: "histology"}


Again = Callable[[SourceState], bool]


def never(state: SourceState) -> bool:  # noqa: ARG001 - one kind of Again
    """Read nothing again that has not changed."""
    return False


@dataclass(frozen=True)
class Wanted:
    """What a run was asked for.

    ``kinds`` to read, empty = all; ``settings`` that rows depend on, by kind; ``replace``: whether
    a new sorting or histology replaces the one in the lake; ``again`` tells which sources are read
    again although nothing changed.
    """

    kinds: Sequence[str]
    settings: Mapping[str, str]
    replace: bool = False
    again: Again = never

    def includes(self, kind: str) -> bool:
        """Whether a kind is to be read."""
        return not self.kinds or kind in self.kinds


def decide(session: SessionPlan, wanted: Wanted) -> None:
    """Keep ``planned`` only for the sources of a session that must be read."""
    done: list[Item] = []
    for item in sorted(session.items, key=_order):
        done.append(_decide(item, done, session, wanted))
    session.items = _hold_back(done)


def _order(item: Item) -> tuple[int, int, str]:
    source = item.source
    return (ORDER.index(source.kind), source.insertion_number or 0, source.name)


def _decide(item: Item, done: Sequence[Item], session: SessionPlan, wanted: Wanted) -> Item:
    source = item.source
    state = session.state.get(source.key)
    if state is not None and state.status == DELETED:
        return Item(source, DELETED, state.reason)
    if item.status != PLANNED:
        return item
    needed = NEEDS.get(source.kind)
    if needed is not None:
        first = _needed(needed, source, done)
        if first is not None and first.status == PLANNED and _is_in(state):
            return item  # aligned to rows that are about to change
        if not (first is not None and first.status == PLANNED) and not _has(
            session, needed, source
        ):
            name = "behavior session" if needed == BEHAVIOR else "probe's sorting"
            return Item(source, WAITING, f"its {name} is not in the lake")
    try:
        found = _status(source, state, wanted)
        return found if found.status != PLANNED or _is_in(state) else _beside_lost(found, session)
    except MaplakeError as error:
        return Item(source, FAILED, str(error))


def _needed(kind: str, source: Source, done: Sequence[Item]) -> Item | None:
    """Return the source of the kind that another one is aligned to."""
    for item in done:
        if item.source.kind == kind and _same(source, item.source.insertion_number):
            return item
    return None


def _has(session: SessionPlan, kind: str, source: Source) -> bool:
    """Tell whether the lake holds what a source is aligned to."""
    return any(
        state.status == IN and state.kind == kind and _same(source, state.insertion_number)
        for state in session.state.values()
    )


def _same(source: Source, insertion_number: int | None) -> bool:
    """Tell whether something is of the same insertion, or of the session as a whole."""
    return None in (source.insertion_number, insertion_number) or (
        source.insertion_number == insertion_number
    )


def _is_in(state: SourceState | None) -> bool:
    return state is not None and state.status == IN


def _status(source: Source, state: SourceState | None, wanted: Wanted) -> Item:
    if source.problem is not None:
        return Item(source, FAILED, str(source.problem))
    if source.waits_for is not None:
        return Item(source, UNCHANGED if _is_in(state) else WAITING, source.waits_for)
    if state is None or state.status != IN:
        if wanted.includes(source.kind):
            return Item(source, PLANNED)
        failed = state is not None and state.status == FAILED
        return Item(source, FAILED if failed else WAITING, state.reason if state else _NOT_ASKED)
    return _known(source, state, wanted)


def _beside_lost(item: Item, session: SessionPlan) -> Item:
    """Let a new recording wait that may be one in the lake whose folder was renamed."""
    source, found = item.source, {one.source.key for one in session.items}
    lost = [
        state
        for state in session.state.values()
        if state.kind == source.kind in _RECORDED and _is_in(state) and state.key not in found
    ]
    for state in lost:
        if _has_files_of(source, state):
            why = f"the same files are in the lake from {state.path}, which is no longer found"
            return Item(source, WAITING, f"{why}: was the folder renamed? {_undo(state)}")
    for state in lost:
        if state.insertion_number == source.insertion_number:
            why = f"the lake has its place from {state.path}, which is no longer found"
            return Item(source, WAITING, f"{why}. {_undo(state)}")
    if lost:
        why = f"beside it the lake keeps {lost[0].path}, which is no longer found"
        return replace(item, reason=f"{why}. If it is the same probe: {_undo(lost[0])}")
    return item


#: Kinds whose sources are named after folders that people name.
_RECORDED = (EPHYS, LFP, NIDQ)


def _has_files_of(source: Source, state: SourceState) -> bool:
    files = source.files()
    known = sorted(state.files.values())
    return len(files) == len(known) and sorted(_hash(file) for file in files) == known


def _undo(state: SourceState) -> str:
    words = ["session" if state.insertion_number is None else "insertion"]
    key = (state.subject_id, state.session, state.insertion_number)
    words += [str(number) for number in key if number is not None]
    return (
        f"Give the folder its old name back, or run `maplake delete {' '.join(words)}`: the next "
        "ingest then takes in what is there"
    )


_NOT_ASKED = "this kind was not asked for"


def _known(source: Source, state: SourceState, wanted: Wanted) -> Item:
    """Decide on a source that is in the lake."""
    if not wanted.includes(source.kind):
        return Item(source, UNCHANGED)
    again = state.settings != wanted.settings.get(source.kind, "") or wanted.again(state)
    # What discovery has seen need not be looked at again.
    same = source.stat_print is not None and source.stat_print == state.stat_print
    stat = None if same else stat_of(source)
    if same or stat == state.stat:
        if again:
            return Item(source, PLANNED)
        reason = _identical(state) if wanted.replace and source.kind in ON_REQUEST else None
        return Item(source, UNCHANGED, reason)
    changed = changed_files(source, state)
    if not changed and not again:
        return Item(source, UNCHANGED, stat=stat)
    is_new = bool(changed) and _is_new_result(source, changed)
    if is_new and not wanted.replace:
        return Item(source, WAITING, _on_request(source.kind))
    return Item(source, PLANNED, replaces=is_new)


def _identical(state: SourceState) -> str:
    return f"not replaced: identical to what was taken in on {state.time[:10]}"


def _on_request(kind: str) -> str:
    what = "sorted again" if kind == EPHYS else "histology was done again"
    return (
        f"{what}; the result in the lake is kept until `maplake ingest {kind} --replace` moves it "
        "to the archive"
    )


def _is_new_result(source: Source, changed: set[Path]) -> bool:
    """Tell whether the changed files are of the part that makes the result."""
    part = source.part(ON_REQUEST.get(source.kind, ""))
    if part is None:
        return False
    # The path of histology is no file but what the names of its files, all there is, begin with.
    return source.parts == (part,) or any(
        path == part.path or part.path in path.parents for path in changed
    )


def changed_files(source: Source, state: SourceState) -> set[Path]:
    """Return the files of a source whose content is not what was taken in; gone ones, too.

    Files are compared by their place in the source, so that a root may move.
    """
    old = {os.path.relpath(name, state.path): digest for name, digest in state.files.items()}
    new = {os.path.relpath(path, source.path): path for path in source.files()}
    changed = {path for name, path in new.items() if old.get(name) != _hash(path)}
    return changed | {Path(os.path.normpath(source.path / name)) for name in old.keys() - new}


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise UnreadableFileError(
            "the file cannot be read", file=path, found=error.strerror
        ) from error


def stat_of(source: Source) -> list[list[Any]]:
    """Return ``[path, bytes, mtime_ns]`` of a source's files.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If a file has gone or cannot be looked at.
    """
    try:
        return stat_files(source.files())
    except FileNotFoundError as error:
        raise MissingFileError("a file has disappeared", file=error.filename) from error
    except OSError as error:
        raise UnreadableFileError(
            "a file cannot be looked at", file=error.filename, found=error.strerror
        ) from error


def held_back(kind: str, cause: str) -> str:
    """Say why a source waits for another one of its session, a failed one of some kind."""
    why = f"held back because {cause} failed"
    if kind == BEHAVIOR:  # all others are aligned to it
        return why
    return f"{why}; to take in others alone, name their kind, as in `maplake ingest behavior`"


def _hold_back(items: list[Item]) -> list[Item]:
    """Let nothing of a session in while one of its sources is faulty at first sight."""
    faulty = next((item.source for item in items if item.status == FAILED), None)
    if faulty is None:
        return items
    why = held_back(*faulty.key)
    return [Item(item.source, WAITING, why) if item.status == PLANNED else item for item in items]
