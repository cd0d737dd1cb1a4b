"""Snapshots: the lake as it was, without copying what did not change.

A snapshot is a folder in ``.maplake/snapshots/`` with the manifests and states of its time. Files
that a later commit replaces or removes are kept by it in ``.maplake/kept/`` (see
:mod:`maplake.writers.keep`); all others are those in the lake. Opened, a snapshot is a lake folder
of its own, whose files are second names (hard links) of these.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maplake.config import Config
from maplake.errors import IntegrityError, LakeError, MaplakeError, NotFoundError, QueryError
from maplake.ingest.lakes import check_version, writing
from maplake.ingest.state import hash_whole_file, read_manifest
from maplake.layout import FORMAT_VERSION, RECORDS, SNAPSHOT_LAKE, Layout, safe_name
from maplake.query import catalog
from maplake.recordfile import read_files, read_json
from maplake.seal import sealed
from maplake.version import version
from maplake.writers import files
from maplake.writers.commit import recover
from maplake.writers.lock import staging_run, write_lock

__all__ = ["Snapshot", "delete", "export", "opened", "snapshots", "take"]

_ABOUT = "snapshot.json"
_FOLDERS = ("manifest", "state")
_RECORDS = ("format.json", "sessions.json", "tables.json", "conditions.json")


@dataclass(frozen=True)
class Snapshot:
    """What is known of a snapshot.

    Attributes
    ----------
    name, note
        As it was called, and why it was taken.
    time
        When, ISO 8601, UTC.
    maplake
        Version that took it.
    sessions
        Number of sessions.
    files, bytes
        Number of files of tables and arrays, and their size.
    changed_files, changed_bytes
        How many of these the lake has replaced or removed since: what the snapshot costs.
    """

    name: str
    note: str
    time: str
    maplake: str
    sessions: int
    files: int
    bytes: int
    changed_files: int = 0
    changed_bytes: int = 0
    settings: dict[str, Any] = field(default_factory=dict, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return {name: value for name, value in asdict(self).items() if name != "settings"}


def take(config: Config, name: str, note: str = "") -> Snapshot:
    """Keep the lake as it is now under a name.

    Parameters
    ----------
    config
        Names the lake.
    name
        Letters, digits, ``_``, ``-`` and ``.``; at most 100.
    note
        Why it is taken.

    Raises
    ------
    QueryError
        If the name cannot be used or is taken.
    LakeError
        If the lake cannot be written to.
    """
    with writing(config) as layout, staging_run(layout.root) as run:
        _check_name(layout, name)
        folder = layout.staging / f"{run}.snapshot"
        sums = {}
        for place in _records(layout.meta):
            target = folder / place.relative_to(layout.meta)
            files.link(place, target)
            sums[target.relative_to(folder).as_posix()] = hash_whole_file(target)
        about = _about(layout, folder, name, note)
        content = {**asdict(about), "format_version": FORMAT_VERSION, "records": sums}
        files.write_bytes(folder / _ABOUT, files.json_bytes(sealed(content)))
        for below in (*(folder / kind for kind in _FOLDERS), folder):
            if below.is_dir():
                files.sync_dir(below)
        files.make_dir(layout.snapshots)
        files.replace(folder, layout.snapshots / name)
        for folder in (layout.snapshots, layout.meta):  # the first snapshot makes the folder
            files.sync_dir(folder)
    return about


def _check_name(layout: Layout, name: str) -> None:
    taken = {folder.name.lower() for folder in _folders(layout)}
    if safe_name(name) != name or len(name) > 100 or name.endswith("."):
        raise QueryError(
            f"{name!r} cannot be the name of a snapshot",
            expected="letters, digits, _, - and ., at most 100",
        )
    if name.lower() in taken:
        raise QueryError(
            f"there is a snapshot {name!r} already",
            file=layout.root,
            hint="Take another name, or remove it with `maplake delete-snapshot`.",
        )


def _records(meta: Path) -> Iterator[Path]:
    yield from (meta / name for name in _RECORDS if (meta / name).exists())
    for kind in _FOLDERS:
        yield from sorted((meta / kind).glob(RECORDS))


def _about(layout: Layout, folder: Path, name: str, note: str) -> Snapshot:
    books = [p.stem for p in (folder / "manifest").glob(RECORDS)]
    entries = [e for book in books for e in _manifest(folder, book).values()]
    settings = catalog.read_settings(layout.root)
    return Snapshot(
        name,
        note,
        datetime.now(UTC).isoformat(timespec="seconds"),
        version(),
        sum(book != "lake" for book in books),
        len(entries),
        sum(int(entry["bytes"]) for entry in entries),
        settings={}
        if settings is None
        else {
            "conditions": dict(settings.conditions),
            "align_types": dict(settings.align_types),
        },
    )


def _folders(layout: Layout) -> list[Path]:
    if not layout.snapshots.is_dir():
        return []
    return sorted(folder for folder in layout.snapshots.iterdir() if (folder / _ABOUT).exists())


def _manifest(folder: Path, book: str) -> dict[str, dict[str, Any]]:
    path = folder / "manifest" / f"{book}.json"
    try:
        return read_files(path)
    except (OSError, ValueError) as error:
        raise IntegrityError("a record of a snapshot is damaged", file=path) from error


def _find(layout: Layout, name: str) -> Path:
    for folder in _folders(layout):
        if folder.name == name:
            return folder
    raise NotFoundError(
        f"there is no snapshot {name!r}",
        expected=", ".join(folder.name for folder in _folders(layout)) or "none was taken",
    )


def _read(folder: Path) -> Snapshot:
    try:
        found = read_json(folder / _ABOUT)
        return Snapshot(**{n: found[n] for n in Snapshot.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError("a record of a snapshot is damaged", file=folder / _ABOUT) from error


def snapshots(root: Path) -> list[Snapshot]:
    """Return the snapshots of a lake in order of time, with what each costs.

    Raises
    ------
    IntegrityError
        If a record of one is damaged.
    """
    layout = Layout(root)
    found = []
    for folder in _folders(layout):
        changed = [
            int(entry["bytes"])
            for path, entry, place in _places(layout, folder)
            if place != layout.root / path
        ]
        about = asdict(_read(folder))
        counts = {"changed_files": len(changed), "changed_bytes": sum(changed)}
        found.append(Snapshot(**about | counts))
    return sorted(found, key=lambda one: (one.time, one.name))


def _places(layout: Layout, folder: Path) -> Iterator[tuple[str, dict[str, Any], Path]]:
    """Yield every file of a snapshot: path, manifest's entry, and where it lies now."""
    for record in sorted((folder / "manifest").glob(RECORDS)):
        now = read_manifest(layout, record.stem)
        for path, entry in _manifest(folder, record.stem).items():
            same = path in now and now[path]["sha256"] == entry["sha256"]
            yield path, entry, layout.root / path if same else layout.kept_file(entry["sha256"])


def opened(root: Path, name: str) -> Path:
    """Return the folder of a lake that is the snapshot; it is made when first asked for.

    Parameters
    ----------
    root
        The lake's folder.
    name
        Of the snapshot.

    Raises
    ------
    NotFoundError
        If there is no such snapshot.
    IntegrityError
        If a file of it is lost.
    LakeReadOnlyError
        If it was never opened and the lake cannot be written to.
    """
    layout = Layout(root)
    folder = _find(layout, name)
    target = folder / SNAPSHOT_LAKE
    if not _is_whole(folder, target):
        check_version(layout)
        with write_lock(root), files.lake_faults(root), staging_run(root) as run:
            recover(layout)  # else what the manifests say of the lake's files may not be so
            if not _is_whole(folder, target):
                aside = layout.staging / f"{run}.opened"
                _give(layout, folder, aside)
                files.write_bytes(Layout(aside).snapshot_mark, name.encode())
                if target.exists():
                    files.replace(target, layout.staging / f"{run}.forgotten")
                files.replace(aside, target)
                _build(layout, target, _read(folder))
                files.discard(layout.staging / f"{run}.forgotten")
    elif not catalog.is_usable(target, catalog.read_settings(target)):
        # Who opened it first died before that, or the lake was moved; without it, views are made
        # for each reader.
        with suppress(MaplakeError, OSError), write_lock(root, timeout_s=0):
            _build(layout, target, _read(folder))
    return target


def _is_whole(snapshot: Path, target: Path) -> bool:
    """Whether an opened snapshot has all its files; a power cut may have taken names of some."""
    try:
        return Layout(target).snapshot_mark.exists() and all(
            (target / path).stat().st_size == int(entry["bytes"])
            for record in sorted((snapshot / "manifest").glob(RECORDS))
            for path, entry in _manifest(snapshot, record.stem).items()
        )
    except FileNotFoundError:
        return False


def export(root: Path, name: str, folder: Path) -> Path:
    """Copy a snapshot to a folder of its own: a lake that needs no other.

    Parameters
    ----------
    root, name
        The lake and the snapshot.
    folder
        Where to; it must not exist.

    Raises
    ------
    NotFoundError
        If there is no such snapshot.
    LakeError
        If the folder exists or cannot be written to.
    IntegrityError
        If a file of the snapshot is lost or damaged.
    """
    layout = Layout(root)
    source, folder = _find(layout, name), folder.expanduser().resolve()
    if folder.exists():
        raise LakeError("the folder exists", file=folder, hint="Name one that does not.")
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    with files.lake_faults(folder):
        try:
            _give(layout, source, aside, copies=True)
            files.replace(aside, folder)
        finally:
            files.remove(aside)
        _build(layout, folder, _read(source))
    return folder


def _give(layout: Layout, snapshot: Path, target: Path, *, copies: bool = False) -> None:
    """Lay a snapshot's files out as a lake: by links, under the lock, or as copies."""
    give = files.copy if copies else files.link
    for path, entry, place in _places(layout, snapshot):
        wanted = entry["sha256"]
        # A commit beside this may replace a file; before, it keeps what a snapshot needs of it.
        for source in (place, layout.kept_file(wanted)):
            with suppress(FileNotFoundError):
                give(source, target / path)
                if not copies or hash_whole_file(target / path) == wanted:
                    break
        else:
            raise IntegrityError(
                f"a file of the snapshot {snapshot.name} is lost or damaged",
                file=place,
                found=path,
                hint="`maplake check --deep` lists all that are.",
            )
    for record in _records(snapshot):
        give(record, target / ".maplake" / record.relative_to(snapshot))


def _build(layout: Layout, folder: Path, about: Snapshot) -> None:
    catalog.build(folder, **about.settings, like=layout.root)


def delete(config: Config, name: str) -> int:
    """Forget a snapshot; what no other snapshot needs is removed.

    Returns
    -------
    Bytes that were freed.

    Raises
    ------
    NotFoundError
        If there is no such snapshot.
    """
    with writing(config) as layout, staging_run(layout.root) as run:
        folder = _find(layout, name)
        aside = layout.staging / f"{run}.forgotten"
        files.replace(folder, aside)
        files.sync_dir(layout.snapshots)
        freed = _sweep(layout)
        files.remove(aside)
    return freed


def _sweep(layout: Layout) -> int:
    """Remove kept files that no snapshot needs; return their bytes."""
    needed = {
        entry["sha256"]
        for folder in _folders(layout)
        for record in (folder / "manifest").glob(RECORDS)
        for entry in _manifest(folder, record.stem).values()
    }
    freed = 0
    for file in sorted(layout.kept.glob("*/*")):
        if file.name not in needed:
            freed += file.stat().st_size
            files.remove(file)
            files.remove_empty_parents(file, layout.meta)
    return freed
