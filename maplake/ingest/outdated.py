"""What is no longer what would be written: readers that were corrected, inputs that changed.

Computed rows whose inputs a commit changes go in the same commit, so none is served. What a reader
wrote that has been corrected since stays, and is told of, until it is asked for anew.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from maplake.ingest.session import IN, WAITING, State
from maplake.ingest.state import SourceState
from maplake.readers import all_readers
from maplake.readers.base import Edition
from maplake.tables.own import KIND

__all__ = [
    "CHANGED",
    "ON_REQUEST",
    "changes_of",
    "input_hash",
    "is_outdated",
    "outdated_by",
    "take_out",
]

Manifest = Mapping[str, Mapping[str, Any]]

#: Stands in the place of a hash so that a source is read, or rows are computed, once more.
ON_REQUEST = "again on request"

#: Why a computed partition has no rows any more.
CHANGED = "what it was computed from has changed; `maplake compute` computes it again"


def input_hash(manifest: Manifest, place: str) -> str:
    """Return the hash of what lies at a place below the lake's root.

    Parameters
    ----------
    manifest
        Files with their ``sha256``.
    place
        A file, or with ``/`` at the end all files below a folder.

    Returns
    -------
    The hash; empty where there is nothing.
    """
    if not place.endswith("/"):
        return str(manifest[place]["sha256"]) if place in manifest else ""
    lines = sorted(f"{p} {e['sha256']}" for p, e in manifest.items() if p.startswith(place))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest() if lines else ""


def outdated_by(state: SourceState, editions: Mapping[str, Edition] | None = None) -> list[str]:
    """Return which readers of a source were corrected since it was read, and why.

    Parameters
    ----------
    state
        A source that is in the lake.
    editions
        Those of the readers by name, where they are known; else the readers are imported.
    """
    if state.status != IN:
        return []
    current = editions or {reader.name: reader.edition for reader in all_readers()}
    return [
        corrected(current[name], version)
        for name, version in readers_of(state).items()
        if name in current and current[name].version > version
    ]


def corrected(reader: Edition, since: int) -> str:
    """Say which versions of a reader came after one, and why."""
    why = [text for version, text in sorted(reader.changes.items()) if version > since]
    reasons = "; ".join(why) or "no reason is given"
    return f"reader {reader.name} was corrected, version {since} to {reader.version}: {reasons}"


def readers_of(state: SourceState) -> dict[str, int]:
    """Return the versions of the readers that read a source."""
    if state.readers:
        return state.readers
    return {state.reader: state.reader_version} if state.reader else {}


def is_outdated(state: SourceState) -> bool:
    """Whether a reader of a source was corrected since it was read."""
    return bool(outdated_by(state))


def changes_of(old: SourceState | None, new: SourceState) -> dict[str, Any]:
    """Return what the log says of a source that a commit takes in: why, and its rows.

    Parameters
    ----------
    old
        What was in the lake of it; None if nothing was.
    new
        What is now.
    """
    before = old.rows if old is not None else {}
    found: dict[str, Any] = {"kind": new.kind, "name": new.name, "why": _why(old, new)}
    rows = {
        table: [before.get(table, 0), new.rows.get(table, 0)]
        for table in sorted({*before, *new.rows})
    }
    versions = {
        name: [readers_of(old).get(name) if old is not None else None, version]
        for name, version in readers_of(new).items()
    }
    return found | {"rows": rows, "readers": versions}


def _why(old: SourceState | None, new: SourceState) -> list[str]:
    """Return why a source was read, judged by what was in the lake of it."""
    if old is None or old.status != IN:
        return ["new" if old is None or old.kind != KIND else old.reason or "new"]
    why = []
    current = {reader.name: reader.edition for reader in all_readers()}
    for name, version in readers_of(new).items():
        since = readers_of(old).get(name)
        if name in current and since is not None and since < version:
            why.append(corrected(current[name], since))
    if new.kind == KIND:
        changed = {"what it is computed from changed": old.files != new.files}
        changed["its function or maplake changed"] = old.settings not in (new.settings, ON_REQUEST)
    else:
        known = old.fingerprint != ON_REQUEST
        changed = {
            "its files changed": known and old.fingerprint != new.fingerprint,
            "settings changed": known and old.settings != new.settings,
            "what it is aligned to changed": bool(old.depends) and old.depends != new.depends,
        }
    why += [text for text, true in changed.items() if true]
    return why or [ON_REQUEST]


def take_out(
    states: Mapping[tuple[str, str], SourceState], manifest: Manifest, changed: Iterable[str]
) -> tuple[State, list[str]]:
    """Mark computed partitions as outdated whose inputs are not what they were computed from.

    Parameters
    ----------
    states
        All sources of a session (or of the whole lake).
    manifest
        Its files as they will be after the commit.
    changed
        Files and folders that the commit adds, replaces or removes.

    Returns
    -------
    states
        The same, with outdated computed partitions waiting and without outputs.
    gone
        The files that the commit has to remove with them.
    """
    result, touched = dict(states), set(changed)
    gone: list[str] = []
    left = dict(manifest)
    found = True
    while found:
        found = False
        for key, state in result.items():
            if state.kind != KIND or state.status != IN or not _is_outdated(state, left, touched):
                continue
            gone += state.outputs
            touched.update(state.outputs)
            for path in state.outputs:
                left.pop(path, None)
            result[key] = dataclasses.replace(
                state, status=WAITING, reason=CHANGED, outputs=[], rows={}, files={}
            )
            found = True
    return result, gone


def _is_outdated(state: SourceState, manifest: Manifest, touched: Iterable[str]) -> bool:
    return any(
        _concerns(place, path) and input_hash(manifest, place) != digest
        for place, digest in state.files.items()
        for path in touched
    )


def _concerns(place: str, path: str) -> bool:
    """Whether a file or folder is, holds or lies in an input's place."""
    return path == place or path.startswith(place.rstrip("/") + "/") or place.startswith(f"{path}/")
