"""Computed rows whose inputs a commit changes: they go in the same commit, so none is served."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from maplake.ingest.session import IN, WAITING, State
from maplake.ingest.state import SourceState
from maplake.tables.own import KIND

__all__ = ["CHANGED", "input_hash", "take_out"]

Manifest = Mapping[str, Mapping[str, Any]]

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
