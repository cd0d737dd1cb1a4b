"""What a commit keeps of the files that it replaces or removes: for snapshots, and spare copies.

A snapshot is the manifests of its time. A file that one of them names goes to ``.maplake/kept/``
under its SHA-256 before the commit that replaces it is decided; a crash in between leaves one name
too many, which does no harm.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maplake.errors import IntegrityError
from maplake.layout import Layout, book_of, manifest_file, spare_file
from maplake.recordfile import read_files
from maplake.writers import files
from maplake.writers.staged import Staged

__all__ = ["keep", "spares"]

Files = Mapping[str, Mapping[str, Any]]


def spares(layout: Layout, part: Staged) -> list[str]:
    """Return the spare copies of the files that a commit removes."""
    found = [str(spare_file(path)) for path in part.deletes if path.startswith("tables/")]
    return [path for path in found if (layout.root / path).exists()]


def keep(layout: Layout, parts: Sequence[Staged]) -> None:
    """Keep what a commit replaces or removes and a snapshot needs; the commit is undecided yet.

    Raises
    ------
    OSError
        If the disk fails.
    IntegrityError
        If a manifest, of the lake or of a snapshot, is damaged.
    """
    if not layout.snapshots.is_dir():
        return
    folders = sorted(path for path in layout.snapshots.iterdir() if path.is_dir())
    new = {path: entry for part in parts for path, entry in part.manifest.items()}
    targets = {target for part in parts for target in (*part.writes, *part.deletes)}
    books: dict[str, list[str]] = {}
    for target in targets:
        if target.startswith(("tables/", "arrays/")):
            books.setdefault(book_of(target), []).append(target)
    kept: set[Path] = set()
    for book, places in books.items():
        wanted = [_files(folder / "manifest" / f"{book}.json") for folder in folders]
        old = _old(layout, book, wanted) if any(wanted) else {}
        for path, entry in _below(old, places):
            digest = entry["sha256"]
            if path in new and new[path]["sha256"] == digest:
                continue
            if any(path in w and w[path]["sha256"] == digest for w in wanted):
                kept |= _keep(layout, path, digest)
    for folder in kept:
        files.sync_dir(folder)


def _old(layout: Layout, book: str, wanted: Sequence[Files]) -> Files:
    """Return the files that are in the lake; without a whole manifest, those of snapshots."""
    try:
        return _files(layout.root / manifest_file(book))
    except IntegrityError:
        there = {path: entry for files_ in wanted for path, entry in files_.items()}
        return {p: e for p, e in there.items() if _is(layout.root / p, e["sha256"])}


def _is(file: Path, digest: str) -> bool:
    if not file.is_file():
        return False
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest() == digest


def _below(known: Files, places: Iterable[str]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    wanted = set(places)
    for path, entry in known.items():
        parts = path.split("/")
        if any("/".join(parts[:count]) in wanted for count in range(2, len(parts) + 1)):
            yield path, entry


def _keep(layout: Layout, path: str, digest: str) -> set[Path]:
    target = layout.kept_file(digest)
    try:
        files.link(layout.root / path, target)
    except FileNotFoundError:  # it has gone; check says so
        return set()
    return {target.parent, layout.kept}


def _files(path: Path) -> Files:
    try:
        return read_files(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise IntegrityError("a manifest of the lake is damaged", file=path) from error
